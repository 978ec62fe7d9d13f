import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { inOrder } from '../concurrency/in-order.ts';
import { BLOCK_SIZE, type Compression } from './cabinet.ts';
import { cabinetChecksum } from './checksum.ts';
import { BLOCK_HEADER } from './data-blocks.ts';
import { HISTORY, MSZIP_MARK } from './mszip.ts';

const deflate = promisify(deflateRaw);

/** Blocks worked on at once. */
const WIDTH = Math.min(8, availableParallelism()) + 2;

/** One stored deflate block, the last of its stream, without its content (RFC 1951 section 3.2.4). */
const STORED_HEADER = 5;

/**
 * Packs the content of a folder into data blocks, each with its header and its checksum. `history` is what precedes the
 * content in the folder: nothing, or whole blocks. The result depends on the content and the version of zlib alone.
 */
export function packBlocks(
  content: AsyncIterable<Buffer>,
  compression: Compression,
  history: Buffer,
): AsyncGenerator<Buffer> {
  return inOrderAsync(cut(content), history, compression);
}

async function* inOrderAsync(
  blocks: AsyncIterable<Buffer>,
  history: Buffer,
  compression: Compression,
): AsyncGenerator<Buffer> {
  let before = history;
  let waiting: (() => Promise<Buffer>)[] = [];
  for await (const raw of blocks) {
    const dictionary = before;
    waiting.push(() => packBlock(raw, compression, dictionary));
    before = raw.length >= HISTORY ? raw : Buffer.concat([before, raw]).subarray(-HISTORY);
    if (waiting.length < WIDTH) continue;
    yield* inOrder(waiting, WIDTH);
    waiting = [];
  }
  yield* inOrder(waiting, WIDTH);
}

/** The content in pieces of the size of a block; only the last may be shorter. */
async function* cut(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let block = Buffer.allocUnsafe(BLOCK_SIZE);
  let filled = 0;
  for await (const chunk of content)
    for (let at = 0; at < chunk.length;) {
      const copied = chunk.copy(block, filled, at);
      at += copied;
      filled += copied;
      if (filled < BLOCK_SIZE) continue;
      yield block;
      block = Buffer.allocUnsafe(BLOCK_SIZE);
      filled = 0;
    }
  if (filled > 0) yield block.subarray(0, filled);
}

async function packBlock(raw: Buffer, compression: Compression, dictionary: Buffer): Promise<Buffer> {
  const data = compression === 'stored' ? raw : await deflateBlock(raw, dictionary);
  const header = Buffer.alloc(BLOCK_HEADER);
  header.writeUInt16LE(data.length, 4);
  header.writeUInt16LE(raw.length, 6);
  header.writeUInt32LE(cabinetChecksum(header.subarray(4), cabinetChecksum(data)), 0);
  return Buffer.concat([header, data]);
}

/** Readers have room for a block that grew by 12 bytes: one that deflate makes larger is stored within deflate. */
async function deflateBlock(raw: Buffer, dictionary: Buffer): Promise<Buffer> {
  const deflated = await deflate(raw, {
    level: 6,
    memLevel: 9,
    chunkSize: BLOCK_SIZE + 1024,
    ...(dictionary.length > 0 ? { dictionary } : {}),
  });
  if (deflated.length <= raw.length) return Buffer.concat([MSZIP_MARK, deflated]);
  const header = Buffer.alloc(STORED_HEADER);
  header.writeUInt8(1, 0);
  header.writeUInt16LE(raw.length, 1);
  header.writeUInt16LE(~raw.length & 0xffff, 3);
  return Buffer.concat([MSZIP_MARK, header, raw]);
}
