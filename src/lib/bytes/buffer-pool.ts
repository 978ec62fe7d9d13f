/** Fills `target` with the bytes from `offset` on. */
export type ReadInto = (target: Buffer, offset: number) => Promise<void>;

/**
 * Buffers of one size that are used again. Only for speed: with a fresh buffer for every read, the garbage collector
 * works harder than everything that is done with the bytes.
 */
export class BufferPool {
  private readonly free: Buffer[] = [];

  /** `size` is that of a buffer, in bytes; at most `kept` free ones stay in memory. */
  constructor(
    readonly size: number,
    private readonly kept = Infinity,
  ) {}

  /** A buffer of `length` bytes, at most `size`, with arbitrary content. */
  acquire(length: number): Buffer {
    return (this.free.pop() ?? Buffer.allocUnsafeSlow(this.size)).subarray(0, length);
  }

  /** Takes back a buffer from `acquire` when nothing reads or fills it any more. */
  release(buffer: Buffer): void {
    if (this.free.length < this.kept) this.free.push(Buffer.from(buffer.buffer));
  }
}

/**
 * The bytes [start, end) in order, in buffers of a pool, with up to `ahead` more being filled. The consumer releases
 * each buffer to the pool.
 */
export async function* readIntoPool(
  start: number,
  end: number,
  fill: ReadInto,
  { ahead, pool }: { readonly ahead: number; readonly pool: BufferPool },
): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  try {
    for (let at = start; at < end; at += pool.size) {
      const buffer = pool.acquire(Math.min(pool.size, end - at));
      const filled = fill(buffer, at).then(() => buffer);
      filled.catch(() => {}); // Reported in its turn; an earlier one may have failed before.
      pending.push(filled);
      const first = pending.length > ahead ? pending.shift() : undefined;
      if (first) yield await first;
    }
    for (let first = pending.shift(); first; first = pending.shift()) yield await first;
  } finally {
    await Promise.allSettled(pending); // The file may be closed after this.
  }
}

/** Releases each buffer to its pool when the next one is asked for. */
export async function* releaseAfterUse(
  buffers: AsyncIterable<Buffer>,
  pool: BufferPool,
): AsyncGenerator<Buffer> {
  for await (const buffer of buffers) {
    yield buffer;
    pool.release(buffer);
  }
}
