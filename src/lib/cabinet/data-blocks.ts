import { BLOCK_SIZE, type Cabinet, type CabinetFolder } from './cabinet.ts';
import { cabinetChecksum } from './checksum.ts';
import { corruptCabinet, damagedData } from './errors.ts';

/*
 * [MS-CAB] section 2.4, CFDATA: csum u32, cbData u16, cbUncomp u16, abReserve, data (cbData bytes)
 */

/** The size of a block's header without a reserved area, in bytes. */
export const BLOCK_HEADER = 8;

/** The most bytes that a compressed block may have; Microsoft's readers have room for as many. */
const LARGEST_BLOCK = BLOCK_SIZE + 6144;

/** How much of the cabinet is read at a time, in bytes. */
const WINDOW = 1024 * 1024;

/** A block of a folder's data. */
export interface DataBlock {
  readonly start: number;
  readonly end: number;
  /** As it lies in the cabinet; its checksum is right, or there is none. */
  readonly data: Buffer;
  /** Its size when unpacked, as its header says. */
  readonly size: number;
}

/** A block of a folder, and what it unpacks to. */
export interface UnpackedBlock extends DataBlock {
  readonly raw: Buffer;
}

/**
 * Reads the blocks of a folder one after another; throws `cab-corrupt` or `cab-data-corrupt`. The cabinet has no reserved
 * areas in its blocks.
 */
export async function* readBlocks(cabinet: Cabinet, folder: CabinetFolder): AsyncGenerator<DataBlock> {
  const { source } = cabinet;
  const window = new Window(cabinet, folder.dataLimit);
  let start = folder.dataAt;
  for (let index = 0; index < folder.blockCount; index++) {
    const header = await window.read(start, BLOCK_HEADER);
    const [checksum, length, size] = [header.readUInt32LE(0), header.readUInt16LE(4), header.readUInt16LE(6)];
    if (length === 0 || length > LARGEST_BLOCK || size === 0 || size > BLOCK_SIZE)
      throw corruptCabinet(source.name, `a data block of ${length} bytes for ${size} at ${start}`);
    if (size < BLOCK_SIZE && index < folder.blockCount - 1)
      throw corruptCabinet(source.name, `a data block for ${size} bytes at ${start}, and it is not the last`);
    const data = await window.read(start + BLOCK_HEADER, length);
    if (checksum !== 0 && checksum !== cabinetChecksum(header.subarray(4, 8), cabinetChecksum(data)))
      throw damagedData(source.name, `the data block at ${start} does not have its checksum`);
    const end = start + BLOCK_HEADER + length;
    yield { start, end, data, size };
    start = end;
  }
}

/** Reads small pieces in ascending order from a copy of the bytes around them. */
class Window {
  private bytes: Buffer = Buffer.alloc(0);
  private start = 0;

  constructor(
    private readonly cabinet: Cabinet,
    private readonly limit: number,
  ) {}

  async read(at: number, length: number): Promise<Buffer> {
    const { source } = this.cabinet;
    if (at + length > this.limit)
      throw corruptCabinet(source.name, `the data of a folder runs past ${this.limit}, where it has to end`);
    if (at < this.start || at + length > this.start + this.bytes.length) {
      this.start = at;
      this.bytes = await source.read(at, Math.min(Math.max(length, WINDOW), this.limit - at));
    }
    return this.bytes.subarray(at - this.start, at - this.start + length);
  }
}
