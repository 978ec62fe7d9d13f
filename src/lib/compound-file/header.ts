import type { ByteSource } from '../bytes/byte-source.ts';
import { fault } from './faults.ts';

/*
 * MS-CFB section 2.2, "Compound File Header", 512 bytes:
 *
 *   0  signature (8)          32 shift of mini sectors (2)     60 first mini FAT sector (4)
 *   8  CLSID (16), zero       34 reserved (6), zero            64 count of mini FAT sectors (4)
 *   24 minor version (2)      40 count of directory sectors (4), zero in version 3
 *   26 major version (2)      44 count of FAT sectors (4)      68 first DIFAT sector (4)
 *   28 byte order (2)         48 first directory sector (4)    72 count of DIFAT sectors (4)
 *   30 shift of sectors (2)   52 transaction number (4)        76 the first 109 FAT sectors (436)
 *                             56 cutoff of mini streams (4)
 */

/** The bytes of a header, and the room for it in version 3. */
export const HEADER_SIZE = 512;
/** FAT sectors that the header itself lists. */
export const HEADER_DIFAT = 109;
/** Offset of the header's list of FAT sectors. */
export const DIFAT_AT = 76;

const SIGNATURE = Buffer.from('d0cf11e0a1b11ae1', 'hex');

/** Offsets of the fields that change when a file grows. */
export const FIELD = {
  directorySectors: 40,
  fatSectors: 44,
  miniFatStart: 60,
  miniFatSectors: 64,
  difatStart: 68,
  difatSectors: 72,
} as const;

/** Streams with fewer bytes than this lie in the mini stream. */
export const MINI_CUTOFF = 4096;
/** Bytes of a sector of the mini stream. */
export const MINI_SECTOR = 64;

/** Values of the allocation tables with a meaning of their own (MS-CFB section 2.1). */
export const SECTOR = {
  max: 0xfffffffa,
  difat: 0xfffffffc,
  fat: 0xfffffffd,
  endOfChain: 0xfffffffe,
  free: 0xffffffff,
} as const;

/** The header of a compound file. */
export interface CompoundFileHeader {
  /** Version 3 has sectors of 512 bytes, version 4 of 4096. */
  readonly version: 3 | 4;
  readonly sectorSize: number;
  readonly directorySectors: number;
  readonly fatSectors: number;
  readonly directoryStart: number;
  readonly miniFatStart: number;
  readonly miniFatSectors: number;
  readonly difatStart: number;
  readonly difatSectors: number;
  /** The 512 bytes. */
  readonly bytes: Buffer;
}

/** Whether a file begins as compound files do. */
export const looksLikeCompoundFile = (head: Buffer): boolean =>
  head.subarray(0, SIGNATURE.length).equals(SIGNATURE);

/** Reads the header; throws `cfb-no-header`, `cfb-header`. */
export async function readHeader(source: ByteSource): Promise<CompoundFileHeader> {
  if (source.size < HEADER_SIZE) throw fault(source, 'cfb-no-header', 'too short for a compound file');
  const bytes = await source.read(0, HEADER_SIZE);
  if (!looksLikeCompoundFile(bytes))
    throw fault(source, 'cfb-no-header', 'it does not begin as a compound file does');
  const version = bytes.readUInt16LE(26);
  if (version !== 3 && version !== 4)
    throw fault(source, 'cfb-header', `a compound file of version ${version}, not 3 or 4`);
  const expected: readonly [string, number, number][] = [
    ['byte order', 28, 0xfffe],
    ['sector shift', 30, version === 3 ? 9 : 12],
    ['mini sector shift', 32, 6],
  ];
  for (const [what, at, value] of expected)
    if (bytes.readUInt16LE(at) !== value)
      throw fault(source, 'cfb-header', `its header has ${what} ${bytes.readUInt16LE(at)}, not ${value}`);
  if (bytes.readUInt32LE(56) !== MINI_CUTOFF)
    throw fault(
      source,
      'cfb-header',
      `its header has mini stream cutoff ${bytes.readUInt32LE(56)}, not 4096`,
    );
  const field = (at: number): number => bytes.readUInt32LE(at);
  return {
    version,
    sectorSize: version === 3 ? 512 : 4096,
    directorySectors: field(FIELD.directorySectors),
    fatSectors: field(FIELD.fatSectors),
    directoryStart: field(48),
    miniFatStart: field(FIELD.miniFatStart),
    miniFatSectors: field(FIELD.miniFatSectors),
    difatStart: field(FIELD.difatStart),
    difatSectors: field(FIELD.difatSectors),
    bytes,
  };
}
