/** Fills memory of the caller's. */
export type ReadInto = (target: Buffer, offset: number) => Promise<void>;

/**
 * Memory to be used again, in blocks of one size: fresh memory for all that passes through keeps the garbage
 * collector busier than everything that is done with it.
 */
export class Blocks {
  private readonly spare: Buffer[] = [];

  /** `size` is a block's, in bytes; of those that are given back, `kept` are kept. */
  constructor(
    readonly size: number,
    private readonly kept = Infinity,
  ) {}

  /** So many bytes, at most a block's, with anything in them. */
  take(length: number): Buffer {
    return (this.spare.pop() ?? Buffer.allocUnsafeSlow(this.size)).subarray(0, length);
  }

  /** Takes back what `take` gave, once nobody reads or fills it any more. */
  give(block: Buffer): void {
    if (this.spare.length < this.kept) this.spare.push(Buffer.from(block.buffer));
  }
}

/**
 * The bytes [start, end) in order, in blocks, with so many being filled ahead of the one that is worked on.
 * Whoever asks gives each back to the memory.
 */
export async function* readBlocks(
  start: number,
  end: number,
  fill: ReadInto,
  { ahead, memory }: { readonly ahead: number; readonly memory: Blocks },
): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  try {
    for (let at = start; at < end; at += memory.size) {
      const block = memory.take(Math.min(memory.size, end - at));
      const filled = fill(block, at).then(() => block);
      filled.catch(() => {}); // Reported when its turn comes; another may have failed before.
      pending.push(filled);
      const first = pending.length > ahead ? pending.shift() : undefined;
      if (first) yield await first;
    }
    for (let first = pending.shift(); first; first = pending.shift()) yield await first;
  } finally {
    await Promise.allSettled(pending); // Whoever owns what is read may close it then.
  }
}

/** Blocks that are given back by themselves: one is good until the next is asked for. */
export async function* passing(blocks: AsyncIterable<Buffer>, memory: Blocks): AsyncGenerator<Buffer> {
  for await (const block of blocks) {
    yield block;
    memory.give(block);
  }
}
