import { inflateRawSync, type ZlibOptions } from 'node:zlib';
import { messageOf } from '../errors.ts';
import type { DataBlock } from './data-blocks.ts';
import { damagedData } from './errors.ts';

/*
 * [MS-MCI], MSZIP: each block is "CK" and a deflate stream of its own, which may refer to the 32 KiB of the folder before it.
 */

/** The first bytes of each block. */
export const MSZIP_MARK = Buffer.from('CK', 'latin1');

/** How far back MSZIP looks, in bytes. */
export const HISTORY = 32_768;

/** Unpacks the blocks of a folder, one after another. */
export function mszipUnpacker(name: string): (block: DataBlock) => Buffer {
  let history: Buffer = Buffer.alloc(0);
  return (block) => {
    const raw = inflateBlock(block, history, name);
    history = raw.length >= HISTORY ? raw : Buffer.concat([history, raw]).subarray(-HISTORY);
    return raw;
  };
}

interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

function inflateBlock({ data, size, start }: DataBlock, history: Buffer, name: string): Buffer {
  if (!data.subarray(0, 2).equals(MSZIP_MARK))
    throw damagedData(name, `the data block at ${start} does not begin as MSZIP does`);
  const options: ZlibOptions = {
    maxOutputLength: size,
    chunkSize: Math.max(64, size + 1),
    info: true,
    ...(history.length > 0 ? { dictionary: history } : {}),
  };
  let inflated: Inflated;
  try {
    // With `info` the result has this form, which the types do not say.
    inflated = inflateRawSync(data.subarray(2), options) as unknown as Inflated;
  } catch (error) {
    throw damagedData(name, `the data block at ${start} cannot be unpacked: ${messageOf(error)}`);
  }
  if (inflated.engine.bytesWritten !== data.length - 2)
    throw damagedData(name, `the data block at ${start} has bytes behind its end`);
  return inflated.buffer;
}
