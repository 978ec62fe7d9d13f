import { painter as painterFor, type Style } from '../../lib/terminal-colors.ts';
import { columnWidths, fit, widthOf, type Column } from './text-width.ts';
import type { RowOutcome } from './model.ts';

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
