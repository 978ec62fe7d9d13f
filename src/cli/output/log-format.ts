import { painter, type Style } from '../../lib/terminal-colors.ts';
import { printable } from '../../lib/printable.ts';

interface Level {
  readonly word: string;
  readonly style: Style;
}

/** An alarm's message already begins with that word. */
const LEVELS: Partial<Record<number, Level>> = {
  40: { word: 'warning: ', style: 'warning' },
  50: { word: 'ERROR: ', style: 'bad' },
  60: { word: '', style: 'alarm' },
};

/** Longer messages are cut off: they quote text from outside. */
const MAX_TEXT = 4000;

interface LogRecord {
  readonly level?: number;
  readonly time?: string;
  readonly msg?: string;
  readonly hint?: string;
}

/** A destination for pino that writes each record as one line of text, with its hint below. */
export function plainLog(out: NodeJS.WritableStream, colour = false): { write(record: string): void } {
  const paint = painter(colour);
  return {
    write: (record) => {
      const { level = 30, time = '', msg = '', hint }: LogRecord = JSON.parse(record) as LogRecord;
      const { word = '', style } = LEVELS[level] ?? {};
      const text = `${word}${printable(msg, MAX_TEXT)}`;
      out.write(`${paint(time.slice(11, 19), 'dim')} ${style ? paint(text, style) : text}\n`);
      if (hint !== undefined) out.write(`         ${printable(hint, MAX_TEXT)}\n`);
    },
  };
}
