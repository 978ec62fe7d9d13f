import { promisify } from 'node:util';
import { crc32, createInflateRaw, type InflateRaw } from 'node:zlib';
import { hasCode, invalid, messageOf, type SignpipeError } from '../errors.ts';
import { scan } from '../io/scan.ts';
import { chunks, type ByteSource } from '../io/source.ts';
import type { ArchiveEntry } from './layout.ts';
import { shown } from './names.ts';
import { METHOD } from './records.ts';

/** Output buffer of one inflate step, in bytes. */
const INFLATE_CHUNK = 256 * 1024;

/** Packed data up to this size, in bytes, is handed over in one piece: it costs less than a stream. */
const SMALL = 1024 * 1024;

const damaged = (where: string, why: string, cause?: unknown): SignpipeError =>
  invalid('zip-entry-damaged', `${where}: ${why}`, { hint: 'transfer or pack the zip again', cause });

/**
 * An entry's content, inflated. The declared size is trusted no further than to stop at it: the stream
 * fails with `zip-entry-damaged` when it is longer or shorter or its CRC-32 differs, and with
 * `zip-entry-slack` when compressed bytes follow the end of the deflate stream.
 */
export const content = (source: ByteSource, entry: ArchiveEntry): AsyncGenerator<Buffer> =>
  checked(source, entry, Math.min(INFLATE_CHUNK, entry.size + 1));

/** The same in one piece of memory, of the declared size. */
export async function contentInMemory(source: ByteSource, entry: ArchiveEntry): Promise<Buffer> {
  const parts: Buffer[] = [];
  // With room for all of it and a byte too many, the parts are pieces of one buffer, one after another.
  for await (const part of checked(source, entry, entry.size + 1)) parts.push(part);
  return joined(parts);
}

function joined(parts: readonly Buffer[]): Buffer {
  const [first] = parts;
  if (!first) return Buffer.alloc(0);
  let end = first.byteOffset;
  for (const part of parts) {
    if (part.buffer !== first.buffer || part.byteOffset !== end) return Buffer.concat(parts);
    end += part.length;
  }
  return Buffer.from(first.buffer, first.byteOffset, end - first.byteOffset);
}

/** `room` is the memory that is inflated into at a time, in bytes. */
async function* checked(source: ByteSource, entry: ArchiveEntry, room: number): AsyncGenerator<Buffer> {
  const where = `${source.name}: entry ${shown(entry.path)}`;
  const raw =
    entry.method === METHOD.stored
      ? chunks(source, entry.dataStart, entry.dataEnd)
      : inflated(source, entry, where, room);
  let size = 0;
  let crc = 0;
  for await (const chunk of raw) {
    size += chunk.length;
    if (size > entry.size) throw damaged(where, `holds more than the ${entry.size} bytes declared`);
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (size !== entry.size) throw damaged(where, `holds ${size} bytes, not the ${entry.size} declared`);
  if (crc !== entry.crc32) throw damaged(where, 'its CRC-32 is wrong');
}

const write = promisify((inflate: InflateRaw, bytes: Buffer, done: (error?: Error | null) => void) =>
  inflate.write(bytes, done),
);

/** Each chunk is asked for when the one before was taken in: its memory may be used again then. */
async function feed(inflate: InflateRaw, packed: AsyncIterable<Buffer>): Promise<void> {
  try {
    for await (const chunk of packed) await write(inflate, chunk);
    inflate.end();
  } catch (error) {
    // It reaches whoever reads; nothing happens where that is why it failed.
    inflate.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

const packedBytes = (source: ByteSource, { dataStart, dataEnd }: ArchiveEntry): AsyncIterable<Buffer> =>
  source.drain?.(dataStart, dataEnd) ?? scan(source, dataStart, dataEnd);

async function* inflated(
  source: ByteSource,
  entry: ArchiveEntry,
  where: string,
  room: number,
): AsyncGenerator<Buffer> {
  // No more memory than it takes; the byte too many is for finding that there are too many.
  const inflate = createInflateRaw({ chunkSize: Math.max(64, room) });
  if (entry.compressedSize <= SMALL) inflate.end(await source.read(entry.dataStart, entry.compressedSize));
  else void feed(inflate, packedBytes(source, entry));
  try {
    yield* inflate as AsyncIterable<Buffer>;
  } catch (error) {
    if (hasCode(error, 'Z_DATA_ERROR') || hasCode(error, 'Z_BUF_ERROR') || hasCode(error, 'Z_NEED_DICT'))
      throw damaged(where, `is not a sound deflate stream: ${messageOf(error)}`, error);
    throw error;
  }
  if (inflate.bytesWritten !== entry.compressedSize)
    throw invalid('zip-entry-slack', `${where}: bytes are hidden behind the end of its compressed data`);
}
