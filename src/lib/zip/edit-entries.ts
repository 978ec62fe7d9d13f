import { crc32 } from 'node:zlib';
import type { ByteRange } from '../bytes/byte-range.ts';
import { PatchedSource } from '../bytes/patched-source.ts';
import { invalid } from '../errors.ts';
import { endBytes, movedEnd } from './end-of-central-directory.ts';
import {
  CENTRAL,
  CENTRAL_SIGNATURE,
  END_SIGNATURE,
  extraFields,
  extraOf,
  LOCAL,
  LOCAL_SIGNATURE,
  MAX16,
  MAX32,
  METHOD,
} from './header-fields.ts';
import type { ArchiveEntry } from './local-headers.ts';
import type { Archive } from './read-zip.ts';

/** A modification time as zips hold it (APPNOTE 4.4.6): to two seconds, without a time zone. */
export interface DosTime {
  readonly time: number;
  readonly date: number;
}

/** The UTC fields of a time; the earliest that a zip can hold is 1980, the latest 2107. */
export function dosTime(at: Date): DosTime {
  const year = Math.min(Math.max(at.getUTCFullYear(), 1980), 2107);
  return {
    time: (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
    date: ((year - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
  };
}

/** The time of an entry's header, as if its zone were UTC; undefined if there is no such day. */
export function timeOfDos({ time, date }: DosTime): Date | undefined {
  const [year, month, day] = [1980 + (date >> 9), (date >> 5) & 15, date & 31];
  const at = new Date(Date.UTC(year, month - 1, day, time >> 11, (time >> 5) & 63, (time & 31) * 2));
  const is = dosTime(at);
  return is.time === time && is.date === date ? at : undefined;
}

export const dosTimeOf = ({ local }: Pick<ArchiveEntry, 'local'>): DosTime => ({
  time: local.readUInt16LE(10),
  date: local.readUInt16LE(12),
});

/** An entry that is appended. */
export interface NewEntry {
  /** In ASCII, with `/`. */
  readonly name: string;
  readonly content: Buffer;
  /** The content as it lies in the file; stored if left out. */
  readonly deflated?: Buffer | undefined;
  readonly at: DosTime;
  /** As on MS-DOS with version 2.0 unless given. */
  readonly form?: EntryForm | undefined;
}

/** An entry as it lies in another zip. */
export interface MovedEntry {
  /** From the local header to the end of the data, or of the descriptor behind it. */
  readonly bytes: Buffer;
  readonly central: Buffer;
}

/** What headers say about who made an entry (APPNOTE 4.4.2, 4.4.3, 4.4.4 and 4.4.15). */
export interface EntryForm {
  readonly madeBy: number;
  readonly needed: number;
  readonly flags: number;
  readonly attributes: number;
}

export const PLAIN: EntryForm = { madeBy: 20, needed: 20, flags: 0, attributes: 0 };

export const formOf = ({ local, central }: Pick<ArchiveEntry, 'local' | 'central'>): EntryForm => ({
  madeBy: central.readUInt16LE(4),
  needed: local.readUInt16LE(4),
  flags: local.readUInt16LE(6),
  attributes: central.readUInt32LE(38),
});

/** Local and central header of a new entry at an offset, without extra fields and comment. */
export function entryHeaders(
  { name, content, deflated, at, form = PLAIN }: NewEntry,
  offset: number,
): [Buffer, Buffer] {
  const common = Buffer.alloc(26);
  common.writeUInt16LE(form.needed, 0);
  common.writeUInt16LE(form.flags, 2);
  common.writeUInt16LE(deflated ? METHOD.deflated : METHOD.stored, 4);
  common.writeUInt16LE(at.time, 6);
  common.writeUInt16LE(at.date, 8);
  common.writeUInt32LE(crc32(content), 10);
  common.writeUInt32LE((deflated ?? content).length, 14);
  common.writeUInt32LE(content.length, 18);
  common.writeUInt16LE(name.length, 22);
  const path = Buffer.from(name, 'latin1');
  const local = Buffer.alloc(LOCAL.size);
  local.writeUInt32LE(LOCAL_SIGNATURE, 0);
  common.copy(local, 4);
  const central = Buffer.alloc(CENTRAL.size);
  central.writeUInt32LE(CENTRAL_SIGNATURE, 0);
  central.writeUInt16LE(form.madeBy, 4);
  common.copy(central, 6);
  central.writeUInt32LE(form.attributes, 38);
  central.writeUInt32LE(offset, CENTRAL.offset ?? 0);
  return [Buffer.concat([local, path]), Buffer.concat([central, path])];
}

function newBytesOf(entry: NewEntry): MovedEntry {
  const [local, central] = entryHeaders(entry, 0);
  return { bytes: Buffer.concat([local, entry.deflated ?? entry.content]), central };
}

function atOffset(central: Buffer, offset: number): Buffer {
  const moved = Buffer.from(central);
  moved.writeUInt32LE(offset, CENTRAL.offset ?? 0);
  return moved;
}

/** Reads an entry, to put it into another zip as it is. */
export const entryToMove = async (
  { source }: Pick<Archive, 'source'>,
  entry: ArchiveEntry,
): Promise<MovedEntry> => ({
  bytes: await source.read(entry.offset, entry.end - entry.offset),
  central: entry.central,
});

/** A zip of these entries alone. */
export function zipOf(entries: readonly MovedEntry[]): Buffer {
  let at = 0;
  const directory = entries.map(({ bytes, central }) => {
    const moved = atOffset(central, at);
    at += bytes.length;
    return moved;
  });
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END_SIGNATURE, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(
    directory.reduce((sum, { length }) => sum + length, 0),
    12,
  );
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...entries.map(({ bytes }) => bytes), ...directory, end]);
}

const hasZip64Field = ({ central, path }: ArchiveEntry): boolean =>
  [...extraFields(extraOf(central, CENTRAL), () => path)].some(({ id }) => id === 1);

/** Whether a size, an offset or a count has 64 bits. */
export const usesZip64 = ({ end, entries }: Pick<Archive, 'end' | 'entries'>): boolean =>
  end.zip64 !== null || entries.some(hasZip64Field);

/** What is left of a range when others, in ascending order, are cut out of it. */
function without({ start, end }: ByteRange, cuts: readonly ByteRange[]): ByteRange[] {
  const kept: ByteRange[] = [];
  let at = start;
  for (const cut of cuts) {
    kept.push({ start: at, end: cut.start });
    at = cut.end;
  }
  return [...kept, { start: at, end }];
}

/** An entry's central header with its offset after the cuts; offsets in zip64 fields are refused before. */
function movedHeader({ central, offset }: ArchiveEntry, cuts: readonly ByteRange[]): Buffer {
  const moved = Buffer.from(central);
  const before = cuts
    .filter(({ end }) => end <= offset)
    .reduce((sum, { start, end }) => sum + end - start, 0);
  moved.writeUInt32LE(offset - before, CENTRAL.offset ?? 0);
  return moved;
}

/**
 * A zip without some of its entries and with others after the last; everything else stays byte for byte, in its order,
 * except for the offsets. Entries are cut out from their local header to the end of their data, so that removing what was
 * appended gives the zip that was there before. Throws `zip-entry-too-large` if zip64 would be needed; the archive must not
 * use it.
 */
export function editEntries(
  archive: Archive,
  removed: readonly ArchiveEntry[],
  added: readonly (NewEntry | MovedEntry)[],
): PatchedSource {
  const { source, end, entries } = archive;
  const cuts = removed
    .map(({ offset, end: cutEnd }) => ({ start: offset, end: cutEnd }))
    .sort((one, other) => one.start - other.start);
  const kept = without({ start: 0, end: end.directoryOffset }, cuts);
  let at = kept.reduce((sum, range) => sum + range.end - range.start, 0);
  const data: Buffer[] = [];
  const directory = entries.filter((each) => !removed.includes(each)).map((each) => movedHeader(each, cuts));
  for (const entry of added) {
    const { bytes, central } = 'bytes' in entry ? entry : newBytesOf(entry);
    data.push(bytes);
    directory.push(atOffset(central, at));
    at += bytes.length;
  }
  const size = directory.reduce((sum, { length }) => sum + length, 0);
  if (at + size >= MAX32 || directory.length >= MAX16)
    throw invalid('zip-entry-too-large', `${source.name}: it would need the zip64 format`);
  return PatchedSource.of(source, [
    ...kept,
    Buffer.concat([...data, ...directory, endOf(archive, directory.length, at, size)]),
  ]);
}

function endOf({ end }: Archive, count: number, offset: number, size: number): Buffer {
  const bytes = endBytes(movedEnd(end, offset, size));
  bytes.writeUInt16LE(count, 8);
  bytes.writeUInt16LE(count, 10);
  return bytes;
}
