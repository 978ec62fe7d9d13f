import type { ByteSource } from './source.ts';

/** Bytes of one step. */
const STEP = 1024 * 1024;

/** Steps' memory that nobody fills or reads now, of whichever scan: this much is kept. */
const spare: Buffer[] = [];
const MOST_SPARE = 4;

/**
 * The bytes [start, end) in order, the next step being read while one is worked on. The memory is used
 * again: a chunk is good until the next one is asked for, so hash it, sum it or write it, and let it
 * go. Fresh memory for every step would cost more than hashing what is in it.
 */
export async function* scan(source: ByteSource, start = 0, end = source.size): AsyncGenerator<Buffer> {
  const read = (at: number): Promise<Buffer> => {
    const reading = readStep(source, at, Math.min(STEP, end - at), source.readInto ? spare.pop() : undefined);
    reading.catch(() => {}); // whoever stops early never looks at it; who goes on, awaits it
    return reading;
  };
  let next = start < end ? read(start) : undefined;
  for (let at = start; next; at += STEP) {
    const chunk = await next;
    next = at + STEP < end ? read(at + STEP) : undefined;
    yield chunk;
    if (source.readInto && spare.length < MOST_SPARE) spare.push(Buffer.from(chunk.buffer));
  }
}

async function readStep(
  source: ByteSource,
  at: number,
  length: number,
  spare: Buffer | undefined,
): Promise<Buffer> {
  if (!source.readInto) return source.read(at, length);
  const target = (spare ?? Buffer.allocUnsafeSlow(STEP)).subarray(0, length);
  await source.readInto(target, at);
  return target;
}
