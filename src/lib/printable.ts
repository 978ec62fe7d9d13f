/**
 * What does not show as itself: controls (C0, C1, DEL), format characters (bidi overrides and isolates,
 * zero width), lone surrogates, private and unassigned code points, line and paragraph separators, and
 * what else a font may draw as nothing (fillers, variation selectors).
 */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

const NAMED: ReadonlyMap<string, string> = new Map([
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
]);

function visible(character: string): string {
  const named = NAMED.get(character);
  if (named !== undefined) return named;
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

const cut = (text: string, limit: number): string =>
  text.length > limit ? `${text.slice(0, limit)}…` : text;

/**
 * Text from outside, fit for one line of a terminal, a log, a commit message or a page: whatever does
 * not show as itself becomes a visible escape (`\u{202e}`), and what is longer than `limit` UTF-16
 * units, before escapes, ends in an ellipsis. Letters of every script stay.
 */
export const printable = (text: string, limit = 1000): string => cut(text, limit).replace(HIDDEN, visible);

/** The same for text of several lines: the line feeds stay, everything else hidden is escaped. */
export const printableLines = (text: string, limit = 4000): string =>
  cut(text, limit)
    .split('\n')
    .map((line) => printable(line.replace(/\r$/, ''), limit))
    .join('\n');

/**
 * The same for text that is JSON: whatever hides in its strings becomes a JSON escape, so that the text
 * shows itself and still means the same. Line feeds between records stay.
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
