import type { ByteRange } from '../bytes/byte-range.ts';
import type { ByteSource } from '../bytes/byte-source.ts';

/** The largest read made for several ranges, in bytes. */
const WINDOW = 256 * 1024;
/** Ranges closer than this are read in one go: cheaper than another round trip. In bytes. */
const NEAR = 32 * 1024;
/** Windows read ahead of the one in use. */
const AHEAD = 2;

/** Joins ranges that lie close, in rising order, into windows. */
function join(ranges: readonly ByteRange[]): ByteRange[] {
  const windows: ByteRange[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = windows.at(-1);
    if (last && range.start - last.end <= NEAR && range.end - last.start <= WINDOW)
      windows[windows.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    else windows.push(range);
  }
  return windows;
}

/**
 * A source that will be read mostly at places known beforehand, in rising order, a few bytes each: it
 * fetches those places in few large reads, ahead of need, and forgets them as reading moves on.
 */
export class WindowedSource implements ByteSource {
  readonly size: number;
  readonly name: string;
  private readonly windows: readonly ByteRange[];
  private readonly held = new Map<number, Promise<Buffer>>();
  private current = 0;

  constructor(
    private readonly source: ByteSource,
    ranges: readonly ByteRange[],
  ) {
    this.size = source.size;
    this.name = source.name;
    this.windows = join(ranges);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    for (let at = Math.max(0, this.current - 1); at < this.windows.length; at++) {
      const window = this.windows[at];
      if (!window || window.start > offset) break;
      if (window.end < offset + length) continue;
      const bytes = await this.fetch(at);
      return bytes.subarray(offset - window.start, offset - window.start + length);
    }
    return this.source.read(offset, length);
  }

  private fetch(wanted: number): Promise<Buffer> {
    if (wanted > this.current) {
      for (let old = this.current - 1; old < wanted - 1; old++) this.held.delete(old);
      this.current = wanted;
    }
    for (let at = wanted; at <= Math.min(wanted + AHEAD, this.windows.length - 1); at++) void this.start(at);
    return this.start(wanted);
  }

  private start(at: number): Promise<Buffer> {
    const held = this.held.get(at);
    if (held) return held;
    const { start, end } = this.windows[at] ?? { start: 0, end: 0 };
    const reading = this.source.read(start, end - start);
    // Whoever awaits it sees the failure; one read ahead in vain must not end the process.
    reading.catch(() => {});
    this.held.set(at, reading);
    return reading;
  }
}

/** How much is read ahead where all is read, in bytes. */
const STEP = 1024 * 1024;

/** A source that is read from front to back in small pieces: it reads ahead. */
export class SequentialSource implements ByteSource {
  readonly size: number;
  readonly name: string;
  private start = 0;
  private ahead: Buffer = Buffer.alloc(0);

  constructor(private readonly source: ByteSource) {
    this.size = source.size;
    this.name = source.name;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const at = offset - this.start;
    if (at < 0 || at + length > this.ahead.length) {
      if (length >= STEP || offset + length > this.size) return this.source.read(offset, length);
      this.ahead = await this.source.read(offset, Math.min(STEP, this.size - offset));
      this.start = offset;
    }
    return this.ahead.subarray(offset - this.start, offset - this.start + length);
  }
}
