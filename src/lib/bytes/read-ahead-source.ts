import type { ByteRange } from './byte-range.ts';
import type { ByteSource } from './byte-source.ts';

/**
 * Chooses the windows to hold from now on, one of which contains `range`; the others are dropped. Asked when reading
 * leaves the current window. Returns none to have `range` read by itself and keep what is held. `previousEnd` is the
 * end of the last read.
 */
export type WindowPolicy = (range: ByteRange, previousEnd: number) => readonly ByteRange[];

interface Window extends ByteRange {
  readonly bytes: Promise<Buffer>;
}

const contains = (outer: ByteRange, { start, end }: ByteRange): boolean =>
  outer.start <= start && end <= outer.end;

/**
 * Only for speed: the read cache over any source. Many small reads become a few large ones, of the windows that a
 * policy chooses; windows beyond the one in use are read ahead.
 */
export class ReadAheadSource implements ByteSource {
  readonly size: number;
  readonly name: string;
  private held: readonly Window[] = [];
  private current: Window | undefined;
  private previousEnd = -1;

  constructor(
    private readonly source: Pick<ByteSource, 'size' | 'name' | 'read'>,
    private readonly choose: WindowPolicy,
  ) {
    this.size = source.size;
    this.name = source.name;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const range = { start: offset, end: offset + length };
    const window = this.current && contains(this.current, range) ? this.current : this.advance(range);
    this.previousEnd = range.end;
    if (!window) return this.source.read(offset, length);
    return (await window.bytes).subarray(offset - window.start, range.end - window.start);
  }

  private advance(range: ByteRange): Window | undefined {
    const windows = this.choose(range, this.previousEnd);
    if (windows.length > 0)
      this.held = windows.map(
        ({ start, end }) =>
          this.held.find((each) => each.start === start && each.end === end) ?? this.start(start, end),
      );
    const window = this.held.find((each) => contains(each, range));
    if (window) this.current = window;
    return window;
  }

  private start(start: number, end: number): Window {
    const window = { start, end, bytes: this.source.read(start, end - start) };
    // The reader that awaits it gets the error; the next one tries again.
    window.bytes.catch(() => {
      this.held = this.held.filter((each) => each !== window);
      if (this.current === window) this.current = undefined;
    });
    return window;
  }
}

const STEP = 1024 * 1024;

/** For reading forward in small pieces: 1 MiB at a time. */
export const forward =
  (size: number): WindowPolicy =>
  ({ start, end }) =>
    end - start >= STEP || end > size ? [] : [{ start, end: Math.min(size, start + STEP) }];

/** The largest window made of several ranges, in bytes. */
const WINDOW = 256 * 1024;
/** Ranges closer than this are read together, which is cheaper than another round trip. In bytes. */
const NEAR = 32 * 1024;
/** Windows read ahead of the one in use. */
const AHEAD = 2;

/** For reading at places known beforehand, in ascending order, a few bytes each. */
export function atRanges(ranges: readonly ByteRange[]): WindowPolicy {
  const windows = joinNear(ranges);
  let current = 0;
  return ({ start, end }) => {
    for (let at = Math.max(0, current - 1); at < windows.length; at++) {
      const window = windows[at];
      if (!window || window.start > start) return [];
      if (window.end < end) continue;
      current = Math.max(current, at);
      return windows.slice(Math.max(0, current - 1), current + 1 + AHEAD);
    }
    return [];
  };
}

/** Joins ranges that lie close together into windows, in ascending order. */
function joinNear(ranges: readonly ByteRange[]): ByteRange[] {
  const windows: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = windows.at(-1);
    if (last && range.start - last.end <= NEAR && range.end - last.start <= WINDOW)
      windows[windows.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    else windows.push(range);
  }
  return windows;
}
