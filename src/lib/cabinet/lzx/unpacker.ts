import type { CabinetFolder } from '../cabinet.ts';
import type { DataBlock } from '../data-blocks.ts';
import { damagedData } from '../errors.ts';
import { DamagedStream } from './bit-reader.ts';
import { LzxDecoder } from './decoder.ts';

/** Unpacks the blocks of a folder one after another. Loaded only for a folder that is compressed so. */
export function lzxUnpacker(
  { windowBits, blockCount }: CabinetFolder,
  name: string,
): (block: DataBlock) => Buffer {
  const decoder = new LzxDecoder(windowBits, blockCount);
  return ({ data, size, start }) => {
    try {
      return decoder.decode(data, size);
    } catch (error) {
      if (!(error instanceof DamagedStream)) throw error;
      throw damagedData(name, `the data block at ${start} cannot be unpacked: ${error.message}`);
    }
  };
}
