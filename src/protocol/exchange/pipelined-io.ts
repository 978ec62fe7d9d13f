import { BufferPool, releaseAfterUse, readIntoPool, type ReadInto } from '../../lib/bytes/buffer-pool.ts';

/** Requests in flight at a time, and bytes in each: what keeps a long fat line full (16 x 261,120 = 4 MB). */
export const IN_FLIGHT = 16;
/** The largest read or write that OpenSSH's sftp-server takes (PROTOCOL, `limits@openssh.com`). */
export const REQUEST_SIZE = 261_120;

/** Bytes that are read, hashed and written here at a time: several requests. */
const BLOCK = 4 * REQUEST_SIZE;
/** So many blocks are in flight. */
const BLOCKS_IN_FLIGHT = IN_FLIGHT / 4;

export type ReadAt = (offset: number, length: number) => Promise<Buffer>;
export type WriteAt = (offset: number, bytes: Buffer) => Promise<void>;

/** Bytes and where they stand. */
export interface ReadChunk {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** The bytes of several runs [start, end), one run after another, with several reads in flight. */
export async function* readRanges(
  runs: Iterable<{ readonly start: number; readonly end: number }>,
  read: ReadAt,
): AsyncGenerator<ReadChunk> {
  const pending: Promise<ReadChunk>[] = [];
  for (const { offset, length } of requests(runs)) {
    const first = pending.length >= IN_FLIGHT ? pending.shift() : undefined;
    if (first) yield await first;
    const ahead = read(offset, length).then((bytes) => ({ offset, bytes }));
    ahead.catch(() => {}); // Reported when its turn comes; another may have failed before.
    pending.push(ahead);
  }
  for (let next = pending.shift(); next; next = pending.shift()) yield await next;
}

function* requests(
  runs: Iterable<{ readonly start: number; readonly end: number }>,
): Generator<{ offset: number; length: number }> {
  for (const { start, end } of runs)
    for (let offset = start; offset < end; offset += REQUEST_SIZE)
      yield { offset, length: Math.min(REQUEST_SIZE, end - offset) };
}

/** The bytes [start, end) in order, with several reads in flight. */
export async function* readInOrder(start: number, end: number, read: ReadAt): AsyncGenerator<Buffer> {
  for await (const { bytes } of readRanges([{ start, end }], read)) yield bytes;
}

/** Memory for blocks of several requests each. */
export const requestPool = (): BufferPool => new BufferPool(BLOCK);

/** A block as requests, with their places in it. */
function partsOf(block: Buffer): ReadChunk[] {
  const parts: ReadChunk[] = [];
  for (let offset = 0; offset < block.length; offset += REQUEST_SIZE)
    parts.push({ offset, bytes: block.subarray(offset, offset + REQUEST_SIZE) });
  return parts;
}

/** As `readInOrder`, in blocks whose memory is used again: one is good until the next is asked for. */
export function readBlocksInOrder(start: number, end: number, read: ReadInto): AsyncGenerator<Buffer> {
  const pool = requestPool();
  const fill: ReadInto = (block, at) => inParts(block, (part, offset) => read(part, at + offset));
  return releaseAfterUse(readIntoPool(start, end, fill, { ahead: BLOCKS_IN_FLIGHT, pool }), pool);
}

async function inParts(block: Buffer, each: (part: Buffer, offset: number) => Promise<void>): Promise<void> {
  await Promise.all(partsOf(block).map(({ offset, bytes }) => each(bytes, offset)));
}

export interface WriteBehindOptions {
  /** Where the first block goes; 0 unless given. */
  readonly start?: number;
  /** Told up to where everything was written. */
  readonly onWritten?: (end: number) => void;
  /** Where the blocks' memory came from: each is given back when all of it was written. */
  readonly pool?: BufferPool;
}

/** Writes blocks one after another with several writes in flight; returns when all were answered. */
export async function writeBehind(
  content: AsyncIterable<Buffer>,
  write: WriteAt,
  { start = 0, onWritten, pool }: WriteBehindOptions = {},
): Promise<void> {
  const pending: { end: number; written: Promise<void>; done: Buffer | null }[] = [];
  const settle = async (): Promise<void> => {
    const first = pending.shift();
    if (!first) return;
    await first.written;
    onWritten?.(first.end);
    if (first.done) pool?.release(first.done);
  };
  let at = start;
  for await (const block of content) {
    for (const { offset, bytes } of partsOf(block)) {
      if (pending.length >= IN_FLIGHT) await settle();
      const written = write(at + offset, bytes);
      written.catch(() => {}); // As above.
      const end = offset + bytes.length;
      pending.push({ end: at + end, written, done: end === block.length ? block : null });
    }
    at += block.length;
  }
  while (pending.length > 0) await settle();
}
