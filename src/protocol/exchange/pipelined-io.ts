import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { BufferPool, releaseAfterUse, readIntoPool, type ReadInto } from '../../lib/bytes/buffer-pool.ts';

/** Requests in flight: with 261,120 bytes each (4 MB), enough for a connection with high bandwidth and latency. */
export const IN_FLIGHT = 16;
/** The largest read or write that OpenSSH's sftp-server takes (PROTOCOL, `limits@openssh.com`). */
export const REQUEST_SIZE = 261_120;

/** Bytes that are read, hashed and written at a time: several requests. */
const BLOCK = 4 * REQUEST_SIZE;
/** Blocks in flight. */
const BLOCKS_IN_FLIGHT = IN_FLIGHT / 4;

export type ReadAt = (offset: number, length: number) => Promise<Buffer>;
type WriteAt = (offset: number, bytes: Buffer) => Promise<void>;

/** Bytes and their offset. */
export interface ReadChunk {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** Reads several ranges in order, with several reads in flight. */
export async function* readRanges(ranges: Iterable<ByteRange>, read: ReadAt): AsyncGenerator<ReadChunk> {
  const pending: Promise<ReadChunk>[] = [];
  for (const { offset, length } of requests(ranges)) {
    const first = pending.length >= IN_FLIGHT ? pending.shift() : undefined;
    if (first) yield await first;
    const ahead = read(offset, length).then((bytes) => ({ offset, bytes }));
    ahead.catch(() => {}); // Reported when it is awaited; an earlier read may fail before.
    pending.push(ahead);
  }
  for (let next = pending.shift(); next; next = pending.shift()) yield await next;
}

function* requests(ranges: Iterable<ByteRange>): Generator<{ offset: number; length: number }> {
  for (const { start, end } of ranges)
    for (let offset = start; offset < end; offset += REQUEST_SIZE)
      yield { offset, length: Math.min(REQUEST_SIZE, end - offset) };
}

/** Reads the bytes [start, end) in order, with several reads in flight. */
export async function* readInOrder(start: number, end: number, read: ReadAt): AsyncGenerator<Buffer> {
  for await (const { bytes } of readRanges([{ start, end }], read)) yield bytes;
}

/** Memory for blocks of several requests each. */
export const requestPool = (): BufferPool => new BufferPool(BLOCK);

/** Splits a block into requests, with their offsets in it. */
function splitBlock(block: Buffer): ReadChunk[] {
  const parts: ReadChunk[] = [];
  for (let offset = 0; offset < block.length; offset += REQUEST_SIZE)
    parts.push({ offset, bytes: block.subarray(offset, offset + REQUEST_SIZE) });
  return parts;
}

/** Reads the bytes [start, end) in order, in blocks whose memory is reused: each is valid until the next is requested. */
export function readBlocksInOrder(start: number, end: number, read: ReadInto): AsyncGenerator<Buffer> {
  const pool = requestPool();
  const fill: ReadInto = (block, at) => inParts(block, (part, offset) => read(part, at + offset));
  return releaseAfterUse(readIntoPool(start, end, fill, { ahead: BLOCKS_IN_FLIGHT, pool }), pool);
}

async function inParts(block: Buffer, each: (part: Buffer, offset: number) => Promise<void>): Promise<void> {
  await Promise.all(splitBlock(block).map(({ offset, bytes }) => each(bytes, offset)));
}

interface WriteBehindOptions {
  /** The offset of the first block; default 0. */
  readonly start?: number;
  /** Called with the offset up to which everything was written. */
  readonly onWritten?: (end: number) => void;
  /** The pool of the blocks: each is returned when all of it was written. */
  readonly pool?: BufferPool;
}

/** Writes blocks in order with several writes in flight; returns when the server has answered all of them. */
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
    for (const { offset, bytes } of splitBlock(block)) {
      if (pending.length >= IN_FLIGHT) await settle();
      const written = write(at + offset, bytes);
      written.catch(() => {}); // Reported when it is awaited.
      const end = offset + bytes.length;
      pending.push({ end: at + end, written, done: end === block.length ? block : null });
    }
    at += block.length;
  }
  while (pending.length > 0) await settle();
}
