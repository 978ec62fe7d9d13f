/**
 * Records of zips as Microsoft's packaging tools write them. There are two kinds of entries: those of a writer that
 * streams (MakeAppx), whose values follow the data in 64 bits, and plain ones (signtool), whose headers hold all values
 * and have no extra field.
 */
import type { CentralEntry } from './central-directory.ts';
import { entryHeaders, type DosTime, type EntryForm, type NewEntry } from './edit-entries.ts';
import { wideEnd } from './end-of-central-directory.ts';
import { CENTRAL, DESCRIPTOR_SIGNATURE, FLAG, LOCAL, MAX32, nameOf } from './header-fields.ts';

/** What signtool writes: made on MS-DOS with version 4.5, readable with 2.0. */
const PLAIN: EntryForm = { madeBy: 45, needed: 20, flags: 0, attributes: 0 };
const STREAMED: EntryForm = { madeBy: 45, needed: 45, flags: FLAG.descriptor, attributes: 0 };

const ZIP64_FIELD = 0x0001;
const OFFSET_AT = CENTRAL.size - 4;

/** An entry that signtool writes. */
export const plainEntry = (entry: Omit<NewEntry, 'form'>): NewEntry => ({ ...entry, form: PLAIN });

/** An entry that MakeAppx writes. Sizes in bytes. */
export interface StreamedEntry {
  readonly name: string;
  readonly at: DosTime;
  readonly method: number;
  readonly crc32: number;
  readonly size: number;
  readonly compressedSize: number;
}

/** Local header and descriptor of an entry that MakeAppx writes, between which its data lie, and the plain record for it. */
export function streamedRecords(
  { name, at, method, crc32: crc, size, compressedSize }: StreamedEntry,
  offset: number,
): { readonly local: Buffer; readonly descriptor: Buffer; readonly record: Buffer } {
  const [local, record] = entryHeaders({ name, at, content: Buffer.alloc(0), form: STREAMED }, offset);
  local.writeUInt16LE(method, LOCAL.method);
  record.writeUInt16LE(method, CENTRAL.method);
  record.writeUInt32LE(crc, CENTRAL.crc32);
  record.writeUInt32LE(compressedSize, CENTRAL.compressedSize);
  record.writeUInt32LE(size, CENTRAL.uncompressedSize);
  const descriptor = Buffer.alloc(24);
  descriptor.writeUInt32LE(DESCRIPTOR_SIGNATURE, 0);
  descriptor.writeUInt32LE(crc, 4);
  descriptor.writeBigUInt64LE(BigInt(compressedSize), 8);
  descriptor.writeBigUInt64LE(BigInt(size), 16);
  return { local, descriptor, record };
}

/** The record of an entry that a zip has, with all values in it and no extra field: as signtool writes it. */
export function plainRecord(
  { central, crc32: crc, compressedSize, size, offset }: CentralEntry,
  movedTo = offset,
): Buffer {
  const record = Buffer.concat([central.subarray(0, CENTRAL.size), nameOf(central, CENTRAL)]);
  record.writeUInt32LE(crc, CENTRAL.crc32);
  record.writeUInt32LE(compressedSize, CENTRAL.compressedSize);
  record.writeUInt32LE(size, CENTRAL.uncompressedSize);
  record.writeUInt16LE(0, CENTRAL.extraLength);
  record.writeUInt32LE(movedTo, OFFSET_AT);
  return record;
}

/** A plain record with its values in 64 bits, in an extra field: as MakeAppx writes it. */
export function widenedRecord(plain: Buffer): Buffer {
  const extra = Buffer.alloc(28);
  extra.writeUInt16LE(ZIP64_FIELD, 0);
  extra.writeUInt16LE(24, 2);
  const fields = [CENTRAL.uncompressedSize, CENTRAL.compressedSize, OFFSET_AT];
  fields.forEach((field, at) => extra.writeBigUInt64LE(BigInt(plain.readUInt32LE(field)), 4 + 8 * at));
  const record = Buffer.concat([plain, extra]);
  for (const field of fields) record.writeUInt32LE(MAX32, field);
  record.writeUInt16LE(extra.length, CENTRAL.extraLength);
  return record;
}

/** End records with every number in 64 bits; MakeAppx also leaves the numbers of disks to them. */
export function packageEnd(
  directory: { readonly count: number; readonly offset: number; readonly size: number },
  { widenDisks = false } = {},
): Buffer {
  const end = wideEnd(directory.count, directory.offset, directory.size);
  if (widenDisks) end.fill(0xff, end.length - 18, end.length - 14);
  return end;
}
