import { Blocks, passing, readBlocks } from './buffer-pool.ts';
import { chunks, type ByteSource } from './byte-source.ts';

/** Of all scans: this much is kept when none needs it. */
const memory = new Blocks(1024 * 1024, 4);

/**
 * The bytes [start, end) in order, up to 1 MiB at a time, the next being read while one is worked on. The memory
 * is used again: a chunk is good until the next one is asked for, so hash it, sum it or write it, and let it
 * go. Fresh memory for every step would cost more than hashing what is in it.
 */
export function scan(source: ByteSource, start = 0, end = source.size): AsyncGenerator<Buffer> {
  const fill = source.readInto?.bind(source);
  if (!fill) return chunks(source, start, end);
  return passing(readBlocks(start, end, fill, { ahead: 1, memory }), memory);
}
