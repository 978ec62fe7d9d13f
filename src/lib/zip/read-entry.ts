import { crc32 } from 'node:zlib';
import { invalid, messageOf, type SignpipeError } from '../errors.ts';
import { readChunks, readTransientChunks } from '../bytes/read-chunks.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import type { DeflateBlockScanner } from './deflate-block-scanner.ts';
import { inflating, isUnsound } from './inflate.ts';
import type { ArchiveEntry } from './local-headers.ts';
import { shown } from './entry-names.ts';
import { METHOD } from './header-fields.ts';

/** Output buffer of one inflate step, in bytes. */
const INFLATE_CHUNK = 256 * 1024;

/** Packed data up to this size, in bytes, is handed over in one piece: it costs less than a stream. */
const SMALL = 1024 * 1024;

const damaged = (where: string, why: string, cause?: unknown): SignpipeError =>
  invalid('zip-entry-damaged', `${where}: ${why}`, { hint: 'transfer or pack the zip again', cause });

/**
 * An entry's content, inflated. The declared size is trusted no further than to stop at it: the stream
 * fails with `zip-entry-damaged` when it is longer or shorter or its CRC-32 differs, and with
 * `zip-entry-slack` when compressed bytes follow the end of the deflate stream. A scanner is shown the
 * packed bytes of a deflated entry.
 */
export const content = (
  source: ByteSource,
  entry: ArchiveEntry,
  scanner?: DeflateBlockScanner,
): AsyncGenerator<Buffer> =>
  checked(source, entry, { room: Math.min(INFLATE_CHUNK, entry.size + 1), scanner });

/** The same in one piece of memory, of the declared size. */
export async function contentInMemory(
  source: ByteSource,
  entry: ArchiveEntry,
  scanner?: DeflateBlockScanner,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  // With room for all of it and a byte too many, the parts are pieces of one buffer, one after another.
  for await (const part of checked(source, entry, { room: entry.size + 1, scanner })) parts.push(part);
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

interface Manner {
  /** The memory that is inflated into at a time, in bytes. */
  readonly room: number;
  readonly scanner: DeflateBlockScanner | undefined;
}

async function* checked(source: ByteSource, entry: ArchiveEntry, manner: Manner): AsyncGenerator<Buffer> {
  const where = `${source.name}: entry ${shown(entry.path)}`;
  const raw =
    entry.method === METHOD.stored
      ? readChunks(source, entry.dataStart, entry.dataEnd)
      : inflated(source, entry, where, manner);
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

async function* inOnePiece(
  source: ByteSource,
  { dataStart, compressedSize }: ArchiveEntry,
): AsyncGenerator<Buffer> {
  yield await source.read(dataStart, compressedSize);
}

const packedBytes = (source: ByteSource, entry: ArchiveEntry): AsyncIterable<Buffer> =>
  entry.compressedSize <= SMALL
    ? inOnePiece(source, entry)
    : readTransientChunks(source, entry.dataStart, entry.dataEnd);

async function* inflated(
  source: ByteSource,
  entry: ArchiveEntry,
  where: string,
  { room, scanner }: Manner,
): AsyncGenerator<Buffer> {
  // No more memory than it takes; the byte too many is for finding that there are too many.
  const inflate = inflating(packedBytes(source, entry), room, (bytes) => scanner?.push(bytes));
  try {
    yield* inflate as AsyncIterable<Buffer>;
  } catch (error) {
    if (isUnsound(error)) throw damaged(where, `is not a sound deflate stream: ${messageOf(error)}`, error);
    throw error;
  }
  if (inflate.bytesWritten !== entry.compressedSize)
    throw invalid('zip-entry-slack', `${where}: bytes are hidden behind the end of its compressed data`);
}
