import { printable } from '../printable.ts';

const LEVELS: Record<number, string> = { 40: 'warning: ', 50: 'ERROR: ', 60: '' };

/** Longer messages are cut: they quote what others wrote. */
const MOST_TEXT = 4000;

interface Line {
  readonly level?: number;
  readonly time?: string;
  readonly msg?: string;
  readonly hint?: string;
}

/** A pino destination that shows each record as one plain line, with its hint below. */
export function humanLog(out: NodeJS.WritableStream): { write(record: string): void } {
  return {
    write: (record) => {
      const { level = 30, time = '', msg = '', hint }: Line = JSON.parse(record) as Line;
      out.write(`${time.slice(11, 19)} ${LEVELS[level] ?? ''}${printable(msg, MOST_TEXT)}\n`);
      if (hint !== undefined) out.write(`         ${printable(hint, MOST_TEXT)}\n`);
    },
  };
}
