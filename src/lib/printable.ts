/**
 * Characters that are not displayed as themselves: controls (C0, C1, DEL), format characters (bidi overrides and
 * isolates, zero width), lone surrogates, private and unassigned code points, line and paragraph separators, and others
 * that a font may draw as nothing (fillers, variation selectors).
 */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

const NAMED: ReadonlyMap<string, string> = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
]);

function visible(character: string): string {
  const name = NAMED.get(character);
  if (name !== undefined) return name;
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

const cut = (text: string, limit: number): string =>
  text.length > limit ? `${text.slice(0, limit)}…` : text;

/**
 * Makes text from outside fit for one line of a terminal, a log, a commit message or a page: hidden characters become
 * visible escapes (`\u{202e}`), and text of more than `limit` UTF-16 units, before escapes, ends in an ellipsis. Letters
 * of every script stay.
 */
export const printable = (text: string, limit = 1000): string => cut(text, limit).replace(HIDDEN, visible);

/** Makes text of several lines printable: line feeds stay, all other hidden characters are escaped. */
export const printableLines = (text: string, limit = 4000): string =>
  cut(text, limit)
    .split('\n')
    .map((line) => printable(line.replace(/\r$/, ''), limit))
    .join('\n');

/**
 * Makes JSON text printable: hidden characters in its strings become JSON escapes, so that the text keeps its meaning.
 * Line feeds between records stay.
 */
export const printableJson = (json: string): string =>
  json.replace(HIDDEN, (character) =>
    character === '\n'
      ? character
      : Array.from(
          { length: character.length },
          (_, i) => String.raw`\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
        ).join(''),
  );
