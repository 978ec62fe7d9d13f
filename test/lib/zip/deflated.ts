/** Deflate streams for the tests, and their blocks. */
import { fileURLToPath } from 'node:url';
import { constants, createDeflateRaw, type ZlibOptions } from 'node:zlib';
import { DeflateBlockScanner, type DeflateBlocks } from '../../../src/lib/zip/deflate-block-scanner.ts';

const program = (path: string): string =>
  fileURLToPath(new URL(`../../../node_modules/7zip-bin/win/${path}`, import.meta.url));

/** Real programs for Windows, about a megabyte each. */
export const PROGRAMS = {
  x64: program('x64/7za.exe'),
  ia32: program('ia32/7za.exe'),
  arm64: program('arm64/7za.exe'),
};

/** The blocks of a stream that arrives in pieces of `size` bytes, in one piece by default, or in the given pieces. */
export function scanBlocks(stream: Buffer | Iterable<Buffer>, size?: number): DeflateBlocks | null {
  const scanner = new DeflateBlockScanner();
  const pieces = Buffer.isBuffer(stream) ? piecesOf(stream, size ?? stream.length) : stream;
  for (const piece of pieces) scanner.push(piece);
  return scanner.finish();
}

function* piecesOf(stream: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < stream.length; at += size) yield stream.subarray(at, at + size);
}

/** Deflates with a flush of this kind after every `every` bytes. */
export async function deflateFlushing(
  content: Buffer,
  every: number,
  kind: number = constants.Z_SYNC_FLUSH,
  options: ZlibOptions = {},
): Promise<Buffer> {
  const deflate = createDeflateRaw(options);
  const parts: Buffer[] = [];
  deflate.on('data', (part: Buffer) => parts.push(part));
  for (let at = 0; at < content.length; at += every) {
    deflate.write(content.subarray(at, at + every));
    await new Promise<void>((done) => deflate.flush(kind, done));
  }
  await new Promise((done) => deflate.once('end', done).end());
  return Buffer.concat(parts);
}
