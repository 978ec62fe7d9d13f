import { crc32 } from 'node:zlib';
import { invalid, messageOf, type SignpipeError } from '../errors.ts';
import { readChunks, readTransientChunks } from '../bytes/read-chunks.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import type { DeflateBlockScanner } from './deflate-block-scanner.ts';
import { inflateStream, isDamaged } from './inflate.ts';
import type { ArchiveEntry } from './local-headers.ts';
import { shown } from './entry-paths.ts';
import { METHOD } from './header-fields.ts';

/** Output buffer of one inflate step, in bytes. */
const INFLATE_CHUNK = 256 * 1024;

/** Only for speed: compressed data up to this size, in bytes, is inflated in one piece, which costs less than a stream. */
const SMALL = 1024 * 1024;

const damaged = (where: string, why: string, cause?: unknown): SignpipeError =>
  invalid('zip-entry-damaged', `${where}: ${why}`, { hint: 'transfer or pack the zip again', cause });

/**
 * The content of an entry. The declared size is only trusted as a limit: the stream fails with `zip-entry-damaged` if
 * it is longer or shorter or its CRC-32 differs, and with `zip-entry-slack` if bytes follow the end of the deflate
 * stream. `scanner` gets the compressed bytes of a deflated entry.
 */
export const content = (
  source: ByteSource,
  entry: ArchiveEntry,
  scanner?: DeflateBlockScanner,
): AsyncGenerator<Buffer> =>
  checked(source, entry, { room: Math.min(INFLATE_CHUNK, entry.size + 1), scanner });

/** Returns the content that `content` streams, in one buffer. */
export async function contentInMemory(
  source: ByteSource,
  entry: ArchiveEntry,
  scanner?: DeflateBlockScanner,
): Promise<Buffer> {
  const parts: Buffer[] = [];
  // With room for all of it and one byte more, the parts are consecutive pieces of one buffer.
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

interface InflateOptions {
  /** How much is inflated at a time, in bytes. */
  readonly room: number;
  readonly scanner: DeflateBlockScanner | undefined;
}

async function* checked(
  source: ByteSource,
  entry: ArchiveEntry,
  options: InflateOptions,
): AsyncGenerator<Buffer> {
  const where = `${source.name}: entry ${shown(entry.path)}`;
  const raw =
    entry.method === METHOD.stored
      ? readChunks(source, entry.dataStart, entry.dataEnd)
      : inflated(source, entry, where, options);
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

const compressedBytes = (source: ByteSource, entry: ArchiveEntry): AsyncIterable<Buffer> =>
  entry.compressedSize <= SMALL
    ? inOnePiece(source, entry)
    : readTransientChunks(source, entry.dataStart, entry.dataEnd);

async function* inflated(
  source: ByteSource,
  entry: ArchiveEntry,
  where: string,
  { room, scanner }: InflateOptions,
): AsyncGenerator<Buffer> {
  // One byte more than the declared size shows that there are too many.
  const inflate = inflateStream(compressedBytes(source, entry), room, (bytes) => scanner?.push(bytes));
  try {
    yield* inflate as AsyncIterable<Buffer>;
  } catch (error) {
    if (isDamaged(error)) throw damaged(where, `is not a sound deflate stream: ${messageOf(error)}`, error);
    throw error;
  }
  if (inflate.bytesWritten !== entry.compressedSize)
    throw invalid('zip-entry-slack', `${where}: bytes are hidden behind the end of its compressed data`);
}
