import { atStop } from '../../lib/at-stop.ts';

/** Sequences of ECMA-48 and xterm. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const LEAVE = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_REST = '\x1b[J';

/** Whether a stream is a terminal that can be drawn on. */
export const isLive = (stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv = process.env): boolean =>
  stream.isTTY && env['TERM'] !== 'dumb' && (env['TERM'] ?? '') !== '';

/**
 * Draws text again and again in a terminal's second screen. If a signal ends the process, the first screen comes back, and
 * the last text is left on it. Lines must be printable; only the colours in them reach the terminal as they are.
 */
export class LiveScreen {
  private last = '';
  private readonly forget: () => void;

  constructor(private readonly stream: NodeJS.WriteStream) {
    this.stream.write(ENTER);
    this.forget = atStop(() => this.leave());
  }

  /** Replaces the text. Lines that do not fit are cut off by the terminal, further ones are left out. */
  draw(text: string): void {
    this.last = text;
    const rows = Math.max(2, this.stream.rows ?? 24);
    const lines = text.split('\n');
    const shown =
      lines.length <= rows ? lines : [...lines.slice(0, rows - 1), `(${lines.length - rows + 1} more lines)`];
    this.stream.write(`${HOME}${shown.map((line) => `${line}${CLEAR_LINE}`).join('\n')}${CLEAR_REST}`);
  }

  close(): void {
    this.forget();
    this.leave();
  }

  private leave(): void {
    this.stream.write(`${LEAVE}${this.last}\n`);
  }
}
