/** Control, format (bidi overrides, zero width), surrogate, private and unassigned code points; line separators. */
const HIDDEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

const NAMED: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function visible(character: string): string {
  const named = NAMED[character];
  if (named !== undefined) return named;
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}

/**
 * Text from outside, fit for a terminal, a log line, a commit message or a page: whatever does not
 * show as itself (control characters, newlines, bidi overrides, zero-width characters) becomes a
 * visible escape, and what is longer than `limit` characters ends in an ellipsis.
 */
export function printable(text: string, limit = 1000): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut.replace(HIDDEN, visible);
}

/** The same for text of several lines: the line feeds stay, everything else hidden is escaped. */
export function printableLines(text: string, limit = 4000): string {
  const cut = text.length > limit ? `${text.slice(0, limit)}…` : text;
  return cut
    .split('\n')
    .map((line) => printable(line.replace(/\r$/, ''), limit))
    .join('\n');
}
