import { invalid } from '../errors.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import {
  CENTRAL_SIGNATURE,
  END_SIGNATURE,
  LOCAL_SIGNATURE,
  MAX16,
  MAX32,
  readUInt64,
  SPLIT_SIGNATURES,
  ZIP64_END_SIGNATURE,
  ZIP64_LOCATOR_SIGNATURE,
  type Fields,
} from './header-fields.ts';

const END_SIZE = 22;
const LOCATOR_SIZE = 20;
const ZIP64_END_SIZE = 56;
/** Longest zip64 end record that is accepted; its extensible data sector has no known use. In bytes. */
const LONGEST_ZIP64_END = 64 * 1024;
/** The end records begin within this many bytes at the end of a file. */
export const TAIL = ZIP64_END_SIZE + LOCATOR_SIZE + END_SIZE + MAX16;

export const END_FIELDS: Fields = [
  ['signature', 0, 4],
  ['disk', 4, 2],
  ['disk of the directory', 6, 2],
  ['entries on this disk', 8, 2],
  ['entries', 10, 2],
  ['directory size', 12, 4],
  ['directory offset', 16, 4],
  ['comment length', 20, 2],
];
export const LOCATOR_FIELDS: Fields = [
  ['signature', 0, 4],
  ['disk of the zip64 end', 4, 4],
  ['offset of the zip64 end', 8, 8],
  ['disks', 16, 4],
];
export const ZIP64_END_FIELDS: Fields = [
  ['signature', 0, 4],
  ['size', 4, 8],
  ['version made by', 12, 2],
  ['version needed', 14, 2],
  ['disk', 16, 4],
  ['disk of the directory', 20, 4],
  ['entries on this disk', 24, 8],
  ['entries', 32, 8],
  ['directory size', 40, 8],
  ['directory offset', 48, 8],
];

/** The end record and, for zip64, the two records before it. */
export interface EndRecords {
  readonly count: number;
  readonly directoryOffset: number;
  /** In bytes; the end records follow the directory immediately. */
  readonly directorySize: number;
  readonly zip64: { readonly record: Buffer; readonly locator: Buffer } | null;
  /** The end of central directory record with the archive's comment, and the zeros behind it. */
  readonly end: Buffer;
}

/**
 * Whether a file's first 8 bytes are those of a zip, also of one without entries, or of one that was to be split and is
 * not. Returns false for a zip that begins with a script or with zeros: see `isZipSource`.
 */
export function isZip(head: Buffer): boolean {
  if (head.length < 4) return false;
  const signature = head.readUInt32LE(0);
  if (SPLIT_SIGNATURES.has(signature)) return head.length >= 8 && isZip(head.subarray(4));
  return signature === LOCAL_SIGNATURE || signature === END_SIGNATURE || signature === ZIP64_END_SIGNATURE;
}

/** Whether a file is a zip, by its first bytes, or by its last if it begins with `#!` or zeros. */
export async function isZipSource(source: ByteSource): Promise<boolean> {
  const head = await source.read(0, Math.min(8, source.size));
  if (isZip(head)) return true;
  if (head.toString('latin1', 0, 2) !== '#!' && (head.length < 4 || head.readUInt32LE(0) !== 0)) return false;
  const tail = await source.read(source.size - Math.min(TAIL, source.size), Math.min(TAIL, source.size));
  const at = tail.lastIndexOf(END_MARK);
  const end = at < 0 ? Infinity : endOf(tail, at);
  return end >= filledLength(tail) && end <= tail.length;
}

/** Where the end record at `at` ends with its comment; Infinity if even its fixed part is cut off. */
const endOf = (tail: Buffer, at: number): number =>
  at + END_SIZE > tail.length ? Infinity : at + END_SIZE + tail.readUInt16LE(at + 20);

/**
 * Finds the one end record that reaches to the end of the file, apart from zeros, with which bsdtar fills up what it
 * writes to a pipe. Returns its offset within `tail`.
 */
function findEnd(tail: Buffer, source: ByteSource, head: Buffer): number {
  const { name } = source;
  const filled = filledLength(tail);
  let last = -1;
  let closing = -1;
  for (let at = tail.lastIndexOf(END_MARK); at >= 0; at = at > 0 ? tail.lastIndexOf(END_MARK, at - 1) : -1) {
    const end = endOf(tail, at);
    if (last < 0) last = at;
    if (end < filled || end > tail.length) continue;
    // A second one in the comment of the first: which zip is read depends on the reader.
    if (closing >= 0) throw invalid('zip-end-ambiguous', `${name}: has two end records, one in the other`);
    closing = at;
  }
  if (closing >= 0 && closing !== last)
    throw invalid('zip-end-ambiguous', `${name}: its comment holds another end record`);
  if (closing >= 0) return closing;
  if (last >= 0 && endOf(tail, last) < filled)
    throw invalid('zip-trailing-bytes', `${name}: has bytes after the end of the zip`);
  if (last >= 0 || isZip(head))
    throw invalid('zip-truncated', `${name}: ends before the zip does`, { hint: 'transfer the file again' });
  throw invalid('zip-not-a-zip', `${name}: is not a zip`);
}

const END_MARK = Buffer.from('PK\x05\x06', 'latin1');

/** Length without the zeros at the end. */
function filledLength(bytes: Buffer): number {
  let length = bytes.length;
  while (length > 0 && bytes[length - 1] === 0) length--;
  return length;
}

/** A 16 or 32-bit field may point to the 64-bit one, or have the same value. */
const agree = (narrow: number, max: number, wide: number): boolean => narrow === max || narrow === wide;

function readZip64(record: Buffer, locator: Buffer, end: Buffer, name: string): EndRecords {
  if (record.readUInt32LE(16) !== 0 || record.readUInt32LE(20) !== 0 || locator.readUInt32LE(16) > 1)
    throw invalid('zip-multi-disk', `${name}: is one part of a zip split over several files`);
  const count = readUInt64(record, 32, name);
  const directorySize = readUInt64(record, 40, name);
  const directoryOffset = readUInt64(record, 48, name);
  if (
    readUInt64(record, 24, name) !== count ||
    !agree(end.readUInt16LE(8), MAX16, count) ||
    !agree(end.readUInt16LE(10), MAX16, count) ||
    !agree(end.readUInt32LE(12), MAX32, directorySize) ||
    !agree(end.readUInt32LE(16), MAX32, directoryOffset)
  )
    throw invalid('zip-headers-disagree', `${name}: the zip64 end record and the end record disagree`);
  return { count, directoryOffset, directorySize, zip64: { record, locator }, end };
}

function readPlain(end: Buffer, name: string): EndRecords {
  const count = end.readUInt16LE(10);
  if (end.readUInt16LE(4) !== 0 || end.readUInt16LE(6) !== 0)
    throw invalid('zip-multi-disk', `${name}: is one part of a zip split over several files`);
  if (end.readUInt16LE(8) !== count)
    throw invalid('zip-headers-disagree', `${name}: the end record gives two numbers of entries`);
  return {
    count,
    directorySize: end.readUInt32LE(12),
    directoryOffset: end.readUInt32LE(16),
    zip64: null,
    end,
  };
}

/** The zip64 end record that the locator points to; it must end where the locator begins. */
async function readZip64Record(source: ByteSource, locator: Buffer, locatorAt: number): Promise<Buffer> {
  const damaged = invalid('zip-directory-damaged', `${source.name}: no zip64 end record where one should be`);
  if (locator.readUInt32LE(4) !== 0)
    throw invalid('zip-multi-disk', `${source.name}: is one part of a zip split over several files`);
  const at = readUInt64(locator, 8, source.name);
  const length = locatorAt - at;
  if (length < ZIP64_END_SIZE || length > LONGEST_ZIP64_END) throw damaged;
  const record = await source.read(at, length);
  if (record.readUInt32LE(0) !== ZIP64_END_SIGNATURE) throw damaged;
  if (readUInt64(record, 4, source.name) !== length - 12) throw damaged;
  return record;
}

/**
 * Whether the 20 bytes before the end record are a zip64 locator. The comment or extra field of an entry may hold its
 * signature by chance: then the end record is complete by itself, the directory reaches to it, and there is no zip64 end
 * record in either of the places where readers look for one.
 */
async function isLocator(source: ByteSource, locator: Buffer, end: Buffer, endAt: number): Promise<boolean> {
  if (locator.readUInt32LE(0) !== ZIP64_LOCATOR_SIGNATURE) return false;
  const [offset, size] = [end.readUInt32LE(16), end.readUInt32LE(12)];
  const complete = end.readUInt16LE(10) !== MAX16 && size !== MAX32 && offset !== MAX32;
  if (!complete || offset + size !== endAt) return true;
  const places = [BigInt(endAt - LOCATOR_SIZE - ZIP64_END_SIZE), locator.readBigUInt64LE(8)];
  for (const at of places)
    if (at >= 0n && at + 4n <= BigInt(source.size))
      if ((await source.read(Number(at), 4)).readUInt32LE(0) === ZIP64_END_SIGNATURE) return true;
  return false;
}

/** The directory must end where the end records begin: no byte is left unexplained. */
async function requireAdjacent(source: ByteSource, records: EndRecords, endsAt: number): Promise<void> {
  const { directoryOffset, directorySize } = records;
  const stray = endsAt - directoryOffset - directorySize;
  if (stray === 0) return;
  const { name } = source;
  if (stray < 0)
    throw invalid('zip-truncated', `${name}: its directory should reach ${-stray} bytes further`, {
      hint: 'transfer the file again',
    });
  const moved = directorySize > 4 ? (await source.read(endsAt - directorySize, 4)).readUInt32LE(0) : 0;
  if (moved === CENTRAL_SIGNATURE)
    throw invalid('zip-prefix', `${name}: the zip begins after ${stray} bytes of something else`, {
      hint: 'after a script, correct its offsets with zip -A FILE; a self-extracting program is signed as a program',
    });
  throw invalid('zip-directory-damaged', `${name}: ${stray} unexplained bytes follow its directory`);
}

/**
 * Reads the end records (APPNOTE 4.3.14 to 4.3.16) strictly: one end record, which reaches to the last byte apart from
 * zeros; no gaps between directory, zip64 records and end record; one disk; two equal counts.
 */
export async function readEnd(source: ByteSource): Promise<EndRecords> {
  const head = await source.read(0, Math.min(8, source.size));
  const tail = await source.read(source.size - Math.min(TAIL, source.size), Math.min(TAIL, source.size));
  const endIn = findEnd(tail, source, head);
  const end = Buffer.from(tail.subarray(endIn));
  const endAt = source.size - end.length;
  const locator = endIn >= LOCATOR_SIZE ? Buffer.from(tail.subarray(endIn - LOCATOR_SIZE, endIn)) : null;
  if (!locator || !(await isLocator(source, locator, end, endAt))) {
    const records = readPlain(end, source.name);
    await requireAdjacent(source, records, endAt);
    return records;
  }
  const record = await readZip64Record(source, locator, endAt - LOCATOR_SIZE);
  const records = readZip64(record, locator, end, source.name);
  await requireAdjacent(source, records, endAt - LOCATOR_SIZE - record.length);
  return records;
}

/** The value of a 16 or 32-bit field, which points to zip64 if it did before or if the value does not fit. */
const narrowed = (before: number, value: number, max: number): number =>
  before === max || value >= max ? max : value;

function newZip64(count: number): { record: Buffer; locator: Buffer } {
  const record = Buffer.alloc(ZIP64_END_SIZE);
  record.writeUInt32LE(ZIP64_END_SIGNATURE, 0);
  record.writeBigUInt64LE(BigInt(ZIP64_END_SIZE - 12), 4);
  record.writeUInt16LE(45, 12);
  record.writeUInt16LE(45, 14);
  record.writeBigUInt64LE(BigInt(count), 24);
  record.writeBigUInt64LE(BigInt(count), 32);
  const locator = Buffer.alloc(LOCATOR_SIZE);
  locator.writeUInt32LE(ZIP64_LOCATOR_SIGNATURE, 0);
  locator.writeUInt32LE(1, 16);
  return { record, locator };
}

/** The end records for the same entries with the directory at another offset; with zip64 records if needed. */
export function movedEnd(old: EndRecords, directoryOffset: number, directorySize: number): EndRecords {
  const end = Buffer.from(old.end);
  end.writeUInt32LE(narrowed(old.zip64 ? end.readUInt32LE(12) : 0, directorySize, MAX32), 12);
  end.writeUInt32LE(narrowed(old.zip64 ? end.readUInt32LE(16) : 0, directoryOffset, MAX32), 16);
  const overflow = directorySize >= MAX32 || directoryOffset >= MAX32;
  const base = { count: old.count, directoryOffset, directorySize, end };
  if (!old.zip64 && !overflow) return { ...base, zip64: null };
  // A number of entries that did not fit may be there without its upper bits.
  if (!old.zip64 && old.count >= MAX16) end.writeUInt32LE(MAX32, 8);
  const { record, locator } = old.zip64
    ? { record: Buffer.from(old.zip64.record), locator: Buffer.from(old.zip64.locator) }
    : newZip64(old.count);
  record.writeBigUInt64LE(BigInt(directorySize), 40);
  record.writeBigUInt64LE(BigInt(directoryOffset), 48);
  locator.writeBigUInt64LE(BigInt(directoryOffset + directorySize), 8);
  return { ...base, zip64: { record, locator } };
}

/** End records with all numbers in 64 bits, for a directory that ends where they begin. */
export function wideEnd(count: number, directoryOffset: number, directorySize: number): Buffer {
  const end = Buffer.alloc(END_SIZE);
  end.writeUInt32LE(END_SIGNATURE, 0);
  end.fill(0xff, 8, 20);
  const records = { count, directoryOffset, directorySize, zip64: newZip64(count), end };
  return endBytes(movedEnd(records, directoryOffset, directorySize));
}

/** The end records as they are at the end of a file. */
export const endBytes = ({ zip64, end }: EndRecords): Buffer =>
  Buffer.concat(zip64 ? [zip64.record, zip64.locator, end] : [end]);
