import type { ByteRange } from '../bytes/byte-range.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { corruptCabinet } from './errors.ts';

/*
 * [MS-CAB] section 2.1, CFHEADER. Little-endian:
 *
 *   00 "MSCF"       04 csumHeader   08 cbCabinet   0c reserved   10 coffFiles   14 reserved
 *   18 version 3,1  1a cFolders     1c cFiles      1e flags      20 setID       22 iCabinet
 *   if flag 4:   cbCFHeader u16, cbCFFolder u8, cbCFData u8, abReserve (cbCFHeader bytes)
 *   if flag 1:   szCabinetPrev, szDiskPrev      if flag 2:   szCabinetNext, szDiskNext
 */

/** The size of the fields that every header has, in bytes. */
export const FIXED_HEADER = 36;

/** Bits of the header's flags. */
export const CABINET_FLAG = { previous: 1, next: 2, reserve: 4 } as const;

/** The longest name of a cabinet, a disk or a member, in bytes without its zero. */
export const LONGEST_NAME = 255;

const MAGIC = Buffer.from('MSCF', 'latin1');
/** Minor version 3, major version 1: the only one. */
const VERSION = 0x0103;
/** The longest reserved area of a header, in bytes. */
const LONGEST_RESERVE = 60_000;

/** Areas that applications may use for their own data. */
export interface CabinetReserve {
  /** The area in the header. */
  readonly header: ByteRange;
  /** Bytes behind each folder entry. */
  readonly perFolder: number;
  /** Bytes in the header of each data block. */
  readonly perBlock: number;
}

export interface CabinetHeader {
  /** Of the cabinet in bytes, as it says. */
  readonly size: number;
  /** csumHeader, which is always 0. */
  readonly checksum: number;
  /** The two further fields that are reserved. */
  readonly reserved: readonly [number, number];
  readonly filesAt: number;
  readonly folderCount: number;
  readonly fileCount: number;
  readonly flags: number;
  /** iCabinet: the number in its set, from 0. */
  readonly number: number;
  readonly reserve: CabinetReserve | null;
  /** The names of neighbours in a set, with their zeros. */
  readonly names: ByteRange;
  /** The table of folders, which ends where the files begin. */
  readonly folders: ByteRange;
}

/** Recognises a cabinet by its first bytes. */
export const looksLikeCabinet = (head: Buffer): boolean =>
  head.length >= FIXED_HEADER && head.subarray(0, 4).equals(MAGIC) && head.readUInt16LE(0x18) === VERSION;

/** Reads the header of a cabinet; throws `cab-corrupt`. */
export async function readCabinetHeader(source: ByteSource): Promise<CabinetHeader> {
  const { name } = source;
  const head = await source.read(0, Math.min(source.size, FIXED_HEADER));
  if (!looksLikeCabinet(head)) throw corruptCabinet(name, 'it does not begin with a header of version 1.3');
  const flags = head.readUInt16LE(0x1e);
  if (flags > 7) throw corruptCabinet(name, `unknown flags 0x${flags.toString(16)}`);
  const size = head.readUInt32LE(0x08);
  if (size > source.size) throw corruptCabinet(name, `it has ${source.size} of ${size} bytes`);
  const reserve = (flags & CABINET_FLAG.reserve) === 0 ? null : await readReserve(source, size);
  const names = await readNames(source, size, flags, reserve?.header.end ?? FIXED_HEADER);
  const folderCount = head.readUInt16LE(0x1a);
  const foldersEnd = names.end + folderCount * (8 + (reserve?.perFolder ?? 0));
  const filesAt = head.readUInt32LE(0x10);
  if (filesAt !== foldersEnd)
    throw corruptCabinet(
      name,
      `its files begin at ${filesAt}, its ${folderCount} folders end at ${foldersEnd}`,
    );
  if (filesAt > size) throw corruptCabinet(name, 'its folders run past its end');
  return {
    size,
    checksum: head.readUInt32LE(0x04),
    reserved: [head.readUInt32LE(0x0c), head.readUInt32LE(0x14)],
    filesAt,
    folderCount,
    fileCount: head.readUInt16LE(0x1c),
    flags,
    number: head.readUInt16LE(0x22),
    reserve,
    names,
    folders: { start: names.end, end: foldersEnd },
  };
}

async function readReserve(source: ByteSource, size: number): Promise<CabinetReserve> {
  if (size < FIXED_HEADER + 4) throw corruptCabinet(source.name, 'it ends inside its header');
  const fields = await source.read(FIXED_HEADER, 4);
  const length = fields.readUInt16LE(0);
  const start = FIXED_HEADER + 4;
  if (length > LONGEST_RESERVE || start + length > size)
    throw corruptCabinet(source.name, `a reserved area of ${length} bytes`);
  return {
    header: { start, end: start + length },
    perFolder: fields.readUInt8(2),
    perBlock: fields.readUInt8(3),
  };
}

/** Finds the end of the names: two for each neighbour. */
async function readNames(source: ByteSource, size: number, flags: number, start: number): Promise<ByteRange> {
  const count = 2 * ((flags & CABINET_FLAG.previous) + ((flags & CABINET_FLAG.next) >> 1));
  const room = Math.min(size, source.size) - start;
  if (room < 0) throw corruptCabinet(source.name, 'it ends inside its header');
  const bytes = await source.read(start, Math.min(room, count * (LONGEST_NAME + 1)));
  let at = 0;
  for (let index = 0; index < count; index++) {
    const end = bytes.indexOf(0, at);
    if (end < 0 || end - at > LONGEST_NAME)
      throw corruptCabinet(source.name, 'the name of a neighbour in its set does not end');
    at = end + 1;
  }
  return { start, end: start + at };
}
