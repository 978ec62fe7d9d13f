/**
 * The fixed records of a zip, as PKWARE's APPNOTE 6.3.10 section 4.3 lays them out. All numbers are
 * little-endian. Offsets here count from the start of the record.
 */
import { invalid } from '../errors.ts';

export const LOCAL_SIGNATURE = 0x04034b50;
export const CENTRAL_SIGNATURE = 0x02014b50;
export const END_SIGNATURE = 0x06054b50;
export const ZIP64_END_SIGNATURE = 0x06064b50;
export const ZIP64_LOCATOR_SIGNATURE = 0x07064b50;
export const DESCRIPTOR_SIGNATURE = 0x08074b50;
/** What a split zip begins with (APPNOTE 8.5.3 to 8.5.5), also if it came out as one part: "PK\7\8" or "PK00". */
export const SPLIT_SIGNATURES: ReadonlySet<number> = new Set([0x08074b50, 0x30304b50]);

/** What a 16 or 32-bit field holds if its value is in a zip64 record. */
export const MAX16 = 0xffff;
export const MAX32 = 0xffffffff;

/** General purpose bits (APPNOTE 4.4.4). */
export const FLAG = { encrypted: 1 << 0, descriptor: 1 << 3, strong: 1 << 6, utf8: 1 << 11, masked: 1 << 13 };

export const METHOD = { stored: 0, deflated: 8, aes: 99 };

/** The extra field that carries 64-bit sizes and offsets (APPNOTE 4.5.3). */
const ZIP64_FIELD = 0x0001;
/** The version that first understood zip64 (APPNOTE 4.4.3.2). */
const ZIP64_VERSION = 45;

/** A record's fields by name, for messages: the name, the offset, the length in bytes. */
export type Fields = readonly (readonly [name: string, at: number, length: number])[];

/** The offsets of the parts of a local or central header. */
export interface HeaderShape {
  readonly what: string;
  readonly signature: number;
  /** Length of the fixed part in bytes; the name, the extra fields and the comment follow it. */
  readonly size: number;
  readonly version: number;
  readonly flags: number;
  readonly method: number;
  readonly crc32: number;
  readonly compressedSize: number;
  readonly uncompressedSize: number;
  readonly nameLength: number;
  readonly extraLength: number;
  readonly commentLength: number | null;
  readonly offset: number | null;
  readonly fields: Fields;
}

export const LOCAL: HeaderShape = {
  what: 'local header',
  signature: LOCAL_SIGNATURE,
  size: 30,
  version: 4,
  flags: 6,
  method: 8,
  crc32: 14,
  compressedSize: 18,
  uncompressedSize: 22,
  nameLength: 26,
  extraLength: 28,
  commentLength: null,
  offset: null,
  fields: [
    ['signature', 0, 4],
    ['version needed', 4, 2],
    ['flags', 6, 2],
    ['method', 8, 2],
    ['modification time', 10, 2],
    ['modification date', 12, 2],
    ['CRC-32', 14, 4],
    ['compressed size', 18, 4],
    ['uncompressed size', 22, 4],
    ['name length', 26, 2],
    ['extra field length', 28, 2],
  ],
};

export const CENTRAL: HeaderShape = {
  what: 'central header',
  signature: CENTRAL_SIGNATURE,
  size: 46,
  version: 6,
  flags: 8,
  method: 10,
  crc32: 16,
  compressedSize: 20,
  uncompressedSize: 24,
  nameLength: 28,
  extraLength: 30,
  commentLength: 32,
  offset: 42,
  fields: [
    ['signature', 0, 4],
    ['version made by', 4, 2],
    ['version needed', 6, 2],
    ['flags', 8, 2],
    ['method', 10, 2],
    ['modification time', 12, 2],
    ['modification date', 14, 2],
    ['CRC-32', 16, 4],
    ['compressed size', 20, 4],
    ['uncompressed size', 24, 4],
    ['name length', 28, 2],
    ['extra field length', 30, 2],
    ['comment length', 32, 2],
    ['disk', 34, 2],
    ['internal attributes', 36, 2],
    ['external attributes', 38, 4],
    ['local header offset', 42, 4],
  ],
};

/** What a header says about the content of its entry; the offset only in a central header. */
export interface HeaderValues {
  readonly crc32: number;
  readonly size: number;
  readonly compressedSize: number;
  readonly offset: number;
}

/** An unsigned 64-bit number; refuses numbers that JavaScript cannot represent exactly (beyond 8 PiB). */
export function readUInt64(bytes: Buffer, at: number, what: string): number {
  const value = bytes.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw invalid('zip-headers-disagree', `${what}: a 64-bit size or offset of ${value} cannot be true`);
  return Number(value);
}

/** Length of the whole header, its variable parts included. */
export function headerLength(header: Buffer, shape: HeaderShape): number {
  const comment = shape.commentLength === null ? 0 : header.readUInt16LE(shape.commentLength);
  return (
    shape.size + header.readUInt16LE(shape.nameLength) + header.readUInt16LE(shape.extraLength) + comment
  );
}

/** The name as stored, undecoded. */
export const nameOf = (header: Buffer, shape: HeaderShape): Buffer =>
  header.subarray(shape.size, shape.size + header.readUInt16LE(shape.nameLength));

/** The extra fields as stored. */
export function extraOf(header: Buffer, shape: HeaderShape): Buffer {
  const start = shape.size + header.readUInt16LE(shape.nameLength);
  return header.subarray(start, start + header.readUInt16LE(shape.extraLength));
}

/** One extra field; `end` is where its data ends within the extra fields. */
interface ExtraField {
  readonly id: number;
  readonly data: Buffer;
  readonly end: number;
}

/** The fields of a header's extra part, in order. Up to three bytes of padding may follow them. */
export function* extraFields(extra: Buffer, what: () => string): Generator<ExtraField> {
  for (let at = 0; at + 4 <= extra.length;) {
    const end = at + 4 + extra.readUInt16LE(at + 2);
    if (end > extra.length)
      throw invalid('zip-headers-disagree', `${what()}: an extra field runs past the end of its header`);
    yield { id: extra.readUInt16LE(at), data: extra.subarray(at + 4, end), end };
    at = end;
  }
}

/** The zip64 field's place within the extra fields: [start of its data, end of its data]. */
function findZip64(extra: Buffer, what: () => string): [start: number, end: number] | null {
  let dataRange: [number, number] | null = null;
  for (const { id, data, end } of extraFields(extra, what)) {
    if (id !== ZIP64_FIELD) continue;
    if (dataRange) throw invalid('zip-headers-disagree', `${what()}: two zip64 fields`);
    dataRange = [end - data.length, end];
  }
  return dataRange;
}

/** The fields that zip64 can widen, in the order of the zip64 field. */
const widenable = (shape: HeaderShape): number[] =>
  shape.offset === null
    ? [shape.uncompressedSize, shape.compressedSize]
    : [shape.uncompressedSize, shape.compressedSize, shape.offset];

/**
 * Reads CRC-32, sizes and offset of a header, from its zip64 field if the header points there. `what` is called for
 * messages only.
 */
export function readValues(header: Buffer, shape: HeaderShape, what: () => string): HeaderValues {
  const extra = extraOf(header, shape);
  const zip64 = findZip64(extra, what);
  let at = zip64 ? zip64[0] : 0;
  const [size = 0, compressedSize = 0, offset = 0] = widenable(shape).map((field) => {
    const value = header.readUInt32LE(field);
    if (value !== MAX32) return value;
    if (!zip64 || at + 8 > zip64[1])
      throw invalid(
        'zip-headers-disagree',
        `${what()}: points to a 64-bit value that its zip64 field does not hold`,
      );
    at += 8;
    return readUInt64(extra, at - 8, what());
  });
  return { crc32: header.readUInt32LE(shape.crc32), size, compressedSize, offset };
}

function uint64s(values: number[]): Buffer {
  const result = Buffer.alloc(8 * values.length);
  values.forEach((value, index) => result.writeBigUInt64LE(BigInt(value), 8 * index));
  return result;
}

/** The extra fields with the leading values of the zip64 field replaced; a new field goes first. */
function withZip64(extra: Buffer, replaced: number, values: number[], what: string): Buffer {
  const place = findZip64(extra, () => what);
  if (!place) {
    const head = Buffer.alloc(4);
    head.writeUInt16LE(ZIP64_FIELD, 0);
    head.writeUInt16LE(8 * values.length, 2);
    return Buffer.concat([head, uint64s(values), extra]);
  }
  const [start, end] = place;
  const data = Buffer.concat([uint64s(values), extra.subarray(start + 8 * replaced, end)]);
  const result = Buffer.concat([extra.subarray(0, start), data, extra.subarray(end)]);
  result.writeUInt16LE(data.length, start - 2);
  return result;
}

/**
 * The header with other values and everything else as it was. Fields that pointed to the zip64 field still do; values
 * that no longer fit go there, and so do the sizes if `large` is set. With the values that it has, the header stays the
 * same.
 */
export function writeValues(
  header: Buffer,
  shape: HeaderShape,
  values: HeaderValues,
  what: string,
  large = false,
): Buffer {
  const fields = widenable(shape);
  const wanted = [values.size, values.compressedSize, values.offset];
  const result = Buffer.from(header);
  result.writeUInt32LE(values.crc32, shape.crc32);
  const wide: number[] = [];
  let before = 0;
  for (const [index, field] of fields.entries()) {
    const value = wanted[index] ?? 0;
    const marked = header.readUInt32LE(field) === MAX32;
    if (marked) before++;
    const mark = marked || value >= MAX32 || (large && field !== shape.offset);
    result.writeUInt32LE(mark ? MAX32 : value, field);
    if (mark) wide.push(value);
  }
  if (wide.length === 0) return result;
  return replaceExtra(result, shape, withZip64(extraOf(header, shape), before, wide, what), what);
}

function replaceExtra(header: Buffer, shape: HeaderShape, extra: Buffer, what: string): Buffer {
  const old = extraOf(header, shape);
  if (extra.length > MAX16)
    throw invalid('zip-entry-too-large', `${what}: no room for a zip64 field among its extra fields`);
  const start = shape.size + header.readUInt16LE(shape.nameLength);
  const result = Buffer.concat([header.subarray(0, start), extra, header.subarray(start + old.length)]);
  result.writeUInt16LE(extra.length, shape.extraLength);
  // The zip64 field needs a newer version; the upper byte is the host system and stays.
  if (extra.length !== old.length && (result[shape.version] ?? 0) < ZIP64_VERSION)
    result[shape.version] = ZIP64_VERSION;
  return result;
}
