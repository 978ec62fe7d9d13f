/** Letters that take two cells of a terminal, and marks that take none; near enough to Unicode's East Asian Width. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Yi}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u;
const NONE = /[\p{Mn}\p{Me}]/u;

const cellsOf = (character: string): number => (NONE.test(character) ? 0 : WIDE.test(character) ? 2 : 1);

const isPlain = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

/** How many cells of a terminal a text takes that was made fit to show. */
export function widthOf(text: string): number {
  if (isPlain(text)) return text.length;
  let width = 0;
  for (const character of text) width += cellsOf(character);
  return width;
}

/** The text in exactly, or with `pad` false in at most, `width` cells; what is cut off shows as an ellipsis. */
export function fit(text: string, width: number, pad = true): string {
  const actual = widthOf(text);
  if (actual <= width) return pad ? text + ' '.repeat(width - actual) : text;
  let cut = '';
  let used = 0;
  for (const character of text) {
    const cells = cellsOf(character);
    if (used + cells > width - 1) break;
    cut += character;
    used += cells;
  }
  return `${cut}…${pad ? ' '.repeat(Math.max(0, width - 1 - used)) : ''}`;
}

export interface Column {
  readonly title: string;
  /** May be cut down to so many cells; never cut when left out. */
  readonly atLeast?: number;
}

/** How wide each column is: as wide as its widest cell, then the widest of those that may be cut are, until all fit. */
export function columnWidths(columns: readonly Column[], widest: readonly number[], room: number): number[] {
  const widths = columns.map(({ title }, i) => Math.max(title.length, widest[i] ?? 0));
  const least = columns.map(({ atLeast }, i) => Math.min(atLeast ?? Infinity, widths[i] ?? 0));
  let over = widths.reduce((sum, width) => sum + width, 0) - room;
  while (over > 0) {
    const spare = widths.map((width, i) => (width > (least[i] ?? 0) ? width : 0));
    const next = spare.indexOf(Math.max(...spare));
    if ((spare[next] ?? 0) === 0) break;
    widths[next] = (widths[next] ?? 0) - 1;
    over -= 1;
  }
  return widths;
}
