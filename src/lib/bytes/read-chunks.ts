import { BufferPool, readIntoPool, releaseAfterUse } from './buffer-pool.ts';
import type { ByteSource } from './byte-source.ts';

/** The largest chunk, in bytes. */
const CHUNK = 1024 * 1024;

/** The bytes [start, end) in order, in chunks of up to 1 MiB that the consumer may keep. */
export async function* readChunks(source: ByteSource, start = 0, end = source.size): AsyncGenerator<Buffer> {
  for (let at = start; at < end; at += CHUNK) yield await source.read(at, Math.min(CHUNK, end - at));
}

/** Shared by all iterations; up to 4 buffers stay in memory when none is running. */
const pool = new BufferPool(CHUNK, 4);

/**
 * The bytes [start, end) in order, in chunks of up to 1 MiB whose memory is used again: a chunk is valid only until the
 * next one is asked for. Reads one chunk ahead. Only for speed: a fresh buffer costs more time than hashing its bytes.
 */
export function readTransientChunks(
  source: ByteSource,
  start = 0,
  end = source.size,
): AsyncGenerator<Buffer> {
  const fill = source.readInto?.bind(source);
  if (!fill) return readChunks(source, start, end);
  return releaseAfterUse(readIntoPool(start, end, fill, { ahead: 1, pool }), pool);
}
