import { open, rm, type FileHandle } from 'node:fs/promises';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { readFully, writeFully } from '../../lib/bytes/read-write-fully.ts';
import { firstIndex } from '../../lib/bytes/binary-search.ts';

/** What is kept in memory of one remote file, in bytes; the rest goes to disk. */
const MEMORY = 64 * 1024 * 1024;

/** How many bytes may still be kept in memory; several caches may share it. */
interface MemoryBudget {
  left: number;
}

export const memoryBudget = (): MemoryBudget => ({ left: MEMORY });

interface CachedRange extends ByteRange {
  /** Null if it lies in the file. */
  readonly bytes: Buffer | null;
}

interface PendingRead {
  readonly end: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The index of the first range that ends after `offset`; they ascend and do not overlap. */
export const indexOfRangeBeyond = (ranges: readonly ByteRange[], offset: number): number =>
  firstIndex(ranges.length, (index) => (ranges[index]?.end ?? 0) > offset);

/**
 * Only for speed: ranges of a remote file that are read once and kept, so that no connection is needed to read them
 * again: in memory up to a limit, the rest in a sparse local file that is created on first use. Reads wait for bytes
 * that have not arrived yet.
 */
export class RangeCache {
  private readonly cached: CachedRange[] = [];
  private file: FileHandle | null = null;
  private failure: { readonly error: unknown } | null = null;
  private pending: PendingRead[] = [];
  /** The number of bytes cached. */
  size = 0;

  /** The ranges must ascend and not overlap; `path` must not exist yet. */
  constructor(
    private readonly ranges: readonly ByteRange[],
    private readonly path: string,
    private readonly budget = memoryBudget(),
  ) {}

  /** Where the last cached range ends; 0 before the first. */
  private get end(): number {
    return this.cached.at(-1)?.end ?? 0;
  }

  /** The ranges that have not arrived yet. */
  get missing(): ByteRange[] {
    const { end: reached } = this;
    return this.ranges
      .filter(({ end }) => end > reached)
      .map(({ start, end }) => ({ start: Math.max(start, reached), end }));
  }

  private covers(start: number, end: number): boolean {
    const range = this.ranges[indexOfRangeBeyond(this.ranges, start)];
    return range !== undefined && range.start <= start && end <= range.end;
  }

  /** Adds the next bytes of the ranges. The buffer is kept, not copied. */
  async append(offset: number, bytes: Buffer): Promise<void> {
    const range = { start: offset, end: offset + bytes.length };
    if (bytes.length <= this.budget.left) {
      this.budget.left -= bytes.length;
      this.cached.push({ ...range, bytes });
    } else {
      await this.writeToFile(offset, bytes);
      this.cached.push({ ...range, bytes: null });
    }
    this.size += bytes.length;
    if (this.pending.length > 0) this.settlePending();
  }

  private settlePending(): void {
    const { end: reached } = this;
    const ready = this.pending.filter(({ end }) => end <= reached);
    this.pending = this.pending.filter(({ end }) => end > reached);
    for (const { resolve } of ready) resolve();
  }

  /** No more bytes will arrive: reads that wait for them, now or later, fail with `error`. */
  fail(error: unknown): void {
    this.failure = { error };
    for (const { reject } of this.pending.splice(0)) reject(error);
  }

  /** Reads the bytes [offset, offset + length), once they have arrived; null if the ranges do not cover them. */
  async read(offset: number, length: number): Promise<Buffer | null> {
    if (length === 0) return Buffer.alloc(0);
    const parts = await this.partsOf(offset, offset + length);
    if (!parts) return null;
    const [only] = parts;
    if (parts.length === 1 && only?.bytes)
      return only.bytes.subarray(offset - only.start, offset - only.start + length);
    const result = Buffer.allocUnsafe(length);
    await this.fill(result, offset, parts);
    return result;
  }

  /** Fills `target` once the bytes have arrived; false if the ranges do not cover them. */
  async readInto(target: Buffer, offset: number): Promise<boolean> {
    const parts = await this.partsOf(offset, offset + target.length);
    if (parts) await this.fill(target, offset, parts);
    return parts !== null;
  }

  /** The cached ranges that hold [start, end), in order, once they have arrived; null if the ranges do not cover it. */
  private async partsOf(start: number, end: number): Promise<CachedRange[] | null> {
    if (!this.covers(start, end)) return null;
    if (this.end < end) await this.whenFetched(end);
    const parts: CachedRange[] = [];
    let reached = start;
    for (let at = indexOfRangeBeyond(this.cached, start); reached < end; at += 1) {
      const part = this.cached[at];
      if (!part || part.start > reached) return null;
      parts.push(part);
      reached = part.end;
    }
    return parts;
  }

  private whenFetched(end: number): Promise<void> {
    if (this.failure) return Promise.reject(this.failure.error);
    return new Promise((resolve, reject) => this.pending.push({ end, resolve, reject }));
  }

  private async fill(target: Buffer, offset: number, parts: readonly CachedRange[]): Promise<void> {
    const end = offset + target.length;
    for (const { start, end: partEnd, bytes } of parts) {
      const from = Math.max(offset, start);
      const part = target.subarray(from - offset, Math.min(end, partEnd) - offset);
      if (bytes) bytes.copy(part, 0, from - start);
      else await this.readFromFile(part, from);
    }
  }

  /** Drops all bytes and deletes the file. */
  async close(): Promise<void> {
    this.cached.length = 0;
    const { file } = this;
    this.file = null;
    if (!file) return;
    await file.close();
    await rm(this.path, { force: true });
  }

  private async writeToFile(offset: number, bytes: Buffer): Promise<void> {
    this.file ??= await open(this.path, 'wx+', 0o600);
    await writeFully(this.file, bytes, offset);
  }

  private async readFromFile(target: Buffer, offset: number): Promise<void> {
    if (!this.file || !(await readFully(this.file, target, offset)))
      throw new RangeError('bytes are missing from the cache file');
  }
}
