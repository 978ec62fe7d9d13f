import { painter as painterFor, type Style } from '../../lib/terminal-colors.ts';
import type { RowOutcome } from './model.ts';

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

export interface TableOptions {
  /** Width of the terminal in cells; at least 80. */
  readonly width: number;
  readonly colour: boolean;
  readonly now: Date;
}

const STYLES: Record<RowOutcome | 'dim' | 'good', Style> = {
  signed: 'good',
  good: 'good',
  rejected: 'bad',
  failed: 'warning',
  waiting: 'waiting',
  unproven: 'alarm',
  dim: 'dim',
};

/** Returns a function that colours texts, if colours are wanted. */
export function painter({ colour }: TableOptions): (text: string, how: keyof typeof STYLES) => string {
  const paint = painterFor(colour);
  return (text, how) => paint(text, STYLES[how]);
}

/** Separates the cells of a line, which contain no line break. */
const SEPARATOR = '\n';

/**
 * A table of texts, cut to the width of the terminal. The widths of columns depend on all cells, so all are kept; the
 * cells of a line as one text, which takes a fifth of the memory of separate texts.
 */
export class TextTable {
  private readonly lines: string[] = [];
  private readonly widest: number[] = [];

  constructor(private readonly columns: readonly Column[]) {}

  get isEmpty(): boolean {
    return this.lines.length === 0;
  }

  add(cells: readonly string[]): void {
    for (const [i, cell] of cells.entries()) this.widest[i] = Math.max(this.widest[i] ?? 0, widthOf(cell));
    this.lines.push(cells.join(SEPARATOR));
  }

  /** The titles, and all lines, which are made as they are asked for. */
  fitted(width: number): { head: string; lines: Iterable<string> } {
    const { columns } = this;
    const gap = width < 100 ? ' ' : '  ';
    const widths = columnWidths(columns, this.widest, width - gap.length * (columns.length - 1));
    const line = (cells: readonly string[]): string =>
      cells.map((cell, i) => fit(cell, widths[i] ?? 0)).join(gap);
    return { head: line(columns.map(({ title }) => title)).trimEnd(), lines: this.all(line) };
  }

  private *all(line: (cells: readonly string[]) => string): Generator<string> {
    for (const each of this.lines) yield line(each.split(SEPARATOR));
  }
}
