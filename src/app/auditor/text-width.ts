/** Characters that take two cells of a terminal, and marks that take none: close to Unicode's East Asian Width. */
const WIDE =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Yi}\p{Emoji_Presentation}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]/u;
const NONE = /[\p{Mn}\p{Me}]/u;

const cellsOf = (character: string): number => (NONE.test(character) ? 0 : WIDE.test(character) ? 2 : 1);

const isPlain = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

/** The number of terminal cells that a printable text takes. */
export function widthOf(text: string): number {
  if (isPlain(text)) return text.length;
  let width = 0;
  for (const character of text) width += cellsOf(character);
  return width;
}

/** The text in exactly `width` cells, or at most `width` if `pad` is false; a cut is marked by an ellipsis. */
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
  /** The column may be cut to this many cells; never cut if absent. */
  readonly atLeast?: number;
}

/** The width of each column: that of its widest cell, reduced in the widest columns that may be cut until all fit. */
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
