import { RangeCache, indexOfRangeBeyond, type Room } from './range-cache.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';

interface Waiting {
  readonly end: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Runs of a far file that are on their way here, in their order, and what has come of them. */
export class Prefetch {
  private readonly held: RangeCache;
  private failure: { readonly error: unknown } | null = null;
  private waiting: Waiting[] = [];

  /** `runs` are in rising order and apart; `cache` and `room` as `RangeCache` has them. */
  constructor(
    private readonly runs: readonly ByteRange[],
    cache: string,
    room: Room,
  ) {
    this.held = new RangeCache(cache, room);
  }

  /** Bytes that have come. */
  get size(): number {
    return this.held.size;
  }

  /** What has not come yet. */
  get missing(): ByteRange[] {
    const reached = this.held.end;
    return this.runs
      .filter(({ end }) => end > reached)
      .map(({ start, end }) => ({ start: Math.max(start, reached), end }));
  }

  /** Whether the bytes [start, end) lie in one of the runs. */
  covers(start: number, end: number): boolean {
    const run = this.runs[indexOfRangeBeyond(this.runs, start)];
    return run !== undefined && run.start <= start && end <= run.end;
  }

  /** Takes what came next. */
  async take(offset: number, bytes: Buffer): Promise<void> {
    await this.held.append(offset, bytes);
    if (this.waiting.length === 0) return;
    const ready = this.waiting.filter(({ end }) => end <= this.held.end);
    this.waiting = this.waiting.filter(({ end }) => end > this.held.end);
    for (const { resolve } of ready) resolve();
  }

  /** Nothing more will come: who waits for it, or will, hears why. */
  fail(error: unknown): void {
    this.failure = { error };
    for (const { reject } of this.waiting.splice(0)) reject(error);
  }

  /** Bytes of one run, as soon as they are there; null where they are not held. */
  async read(offset: number, length: number): Promise<Buffer | null> {
    await this.arrival(offset + length);
    return this.held.read(offset, length);
  }

  /** The same into memory of the caller's; false where they are not held. */
  async readInto(target: Buffer, offset: number): Promise<boolean> {
    await this.arrival(offset + target.length);
    return this.held.readInto(target, offset);
  }

  private arrival(end: number): Promise<void> {
    if (this.held.end >= end) return Promise.resolve();
    if (this.failure) return Promise.reject(this.failure.error);
    return new Promise((resolve, reject) => this.waiting.push({ end, resolve, reject }));
  }

  /** Lets go of what came. */
  close(): Promise<void> {
    return this.held.close();
  }
}
