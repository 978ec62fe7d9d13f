import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { endBytes, type EndRecords } from '../../../lib/zip/end-of-central-directory.ts';
import { dosTimeOf, entryHeaders, type DosTime } from '../../../lib/zip/edit-entries.ts';
import { packageEnd, plainEntry, plainRecord } from '../../../lib/zip/package-records.ts';
import { referenceDeflate } from '../../../lib/zip/reference-deflate.ts';
import { invalid } from '../../../lib/errors.ts';
import type { MsixPackage } from './package.ts';
import { PART } from './part-names.ts';

/** All of a signed package that precedes the entry of its signature, and the records of these entries in the directory. */
export interface UnfinishedPackage {
  readonly pieces: readonly (ByteRange | Buffer)[];
  /** Where the entry of the signature begins. */
  readonly end: number;
  readonly records: readonly Buffer[];
}

/** What signing puts in place of the content types, before the signature. */
export interface AddedParts {
  readonly contentTypes: Buffer;
  readonly catalog: Buffer | null;
}

const lengthOf = (parts: readonly Buffer[]): number => parts.reduce((sum, { length }) => sum + length, 0);

/** Bytes and record of an entry that signing adds. */
function addedEntry(
  name: string,
  content: Buffer,
  at: DosTime,
  offset: number,
): { bytes: Buffer; record: Buffer } {
  const deflated = referenceDeflate(content, { flushed: true });
  const [local, record] = entryHeaders(plainEntry({ name, content, deflated, at }), offset);
  return { bytes: Buffer.concat([local, deflated]), record };
}

/**
 * A package up to its signature, as signtool writes it: what precedes the content types stays, byte for byte; content types
 * and catalog follow with the time that the content types had.
 */
export function unfinishedPackage(
  pkg: MsixPackage,
  { contentTypes, catalog }: AddedParts,
): UnfinishedPackage {
  const { contentTypes: old, archive } = pkg;
  const time = dosTimeOf(old);
  const added = [addedEntry(PART.contentTypes, contentTypes, time, old.offset)];
  const catalogAt = old.offset + lengthOf(added.map(({ bytes }) => bytes));
  if (catalog) added.push(addedEntry(PART.catalog, catalog, time, catalogAt));
  const kept = archive.layout.filter(({ offset }) => offset < old.offset).map((entry) => plainRecord(entry));
  return {
    pieces: [{ start: 0, end: old.offset }, ...added.map(({ bytes }) => bytes)],
    end: old.offset + lengthOf(added.map(({ bytes }) => bytes)),
    records: [...kept, ...added.map(({ record }) => record)],
  };
}

/** Directory and end records of a package that ends with these entries: what it has if it ends before its signature. */
export function tailOf({ records, end: offset }: UnfinishedPackage): Buffer {
  const directory = { count: records.length, offset, size: lengthOf(records) };
  return Buffer.concat([...records, packageEnd(directory)]);
}

/** The whole package. `signature` is the content of its last entry. */
export function finishedPackage(
  source: ByteSource,
  unfinished: UnfinishedPackage,
  signature: Buffer,
  time: DosTime,
): PatchedSource {
  const { bytes, record } = addedEntry(PART.signature, signature, time, unfinished.end);
  const all = { records: [...unfinished.records, record], end: unfinished.end + bytes.length, pieces: [] };
  return PatchedSource.of(source, [...unfinished.pieces, bytes, tailOf(all)]);
}

/**
 * Directory and end records as they are, without those of the last entry: what the signature of a signed package covers.
 * Throws `msix-end-records` if there are no 64-bit ones, without which Windows finds no signature.
 */
export function tailBeforeSignature(
  directory: Buffer,
  end: EndRecords,
  last: { central: Buffer; offset: number },
  what: string,
): Buffer {
  if (!end.zip64)
    throw invalid(
      'msix-end-records',
      `${what}: a signed package has end records in 64 bits, this one has not`,
    );
  const size = end.directorySize - last.central.length;
  const record = Buffer.from(end.zip64.record);
  for (const at of [24, 32]) record.writeBigUInt64LE(BigInt(end.count - 1), at);
  record.writeBigUInt64LE(BigInt(size), 40);
  record.writeBigUInt64LE(BigInt(last.offset), 48);
  const locator = Buffer.from(end.zip64.locator);
  locator.writeBigUInt64LE(BigInt(last.offset + size), 8);
  return Buffer.concat([directory.subarray(0, size), endBytes({ ...end, zip64: { record, locator } })]);
}
