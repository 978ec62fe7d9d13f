import { invalid, type SignpipeError } from '../errors.ts';
import type { ByteRange } from '../bytes/byte-range.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import type { CentralEntry } from './central-directory.ts';
import type { EndRecords } from './end-of-central-directory.ts';
import { requireGap, requirePrefix } from './gaps.ts';
import { entryName, hasUnicodePath } from './entry-names.ts';
import { pathsOf, shown } from './entry-paths.ts';
import {
  CENTRAL,
  DESCRIPTOR_SIGNATURE,
  extraOf,
  FLAG,
  headerLength,
  LOCAL,
  LOCAL_SIGNATURE,
  nameOf,
  readValues,
} from './header-fields.ts';
import { atRanges, ReadAheadSource } from '../bytes/read-ahead-source.ts';

/** A data descriptor's form (APPNOTE 4.3.9): with a signature or without, sizes of 8 bytes or of 4. */
interface Descriptor {
  readonly signed: boolean;
  readonly wide: boolean;
}

/** Where one entry lies in the file. Offsets in bytes from the file's beginning. */
export interface ArchiveEntry extends CentralEntry {
  /** The local header's bytes, name and extra fields included. */
  readonly local: Buffer;
  readonly dataStart: number;
  readonly dataEnd: number;
  readonly descriptor: Descriptor | null;
  /** After data and descriptor. Only a gap may follow before the next entry. */
  readonly end: number;
}

/** How many bytes are read beyond the central length: extra fields (times) are a little longer in local headers. */
const EXTRA_ROOM = 64;
const LONGEST_DESCRIPTOR = 24;
const SHORTEST_DESCRIPTOR = 12;

/** All bits except those for the compression effort (1 and 2), which writers fill in late. */
const COMPARED_FLAGS = 0xffff & ~0b110;

export const descriptorLength = ({ signed, wide }: Descriptor): number => (signed ? 4 : 0) + (wide ? 20 : 12);

/**
 * Reads every local header and checks it against the central one. The entries must not overlap and must end before the
 * directory; before, between and after them only the gaps of gaps.ts are allowed. Returns them in the order of the
 * file.
 */
export async function readLayout(
  source: ByteSource,
  central: readonly CentralEntry[],
  end: EndRecords,
): Promise<ArchiveEntry[]> {
  const ordered = inFileOrder(source, central, end);
  const headers = new ReadAheadSource(source, atRanges(headerRanges(ordered, end.directoryOffset)));
  await requirePrefix(headers, ordered[0]?.offset ?? end.directoryOffset);
  const placed: ArchiveEntry[] = [];
  for (const [position, entry] of ordered.entries()) {
    const next = ordered[position + 1]?.offset ?? end.directoryOffset;
    placed.push(await locateEntry(headers, entry, next));
  }
  return placed;
}

/**
 * Reads the local headers of some entries only, and checks those as `readLayout` does. The others must not overlap
 * according to the directory: header, name and data must at least fit before what follows. `prepare` is called before
 * the first read with all ranges that will be read, including the entries' data: those that are needed first, then the
 * others, each in ascending order.
 */
export async function locateEntries(
  source: ByteSource,
  central: readonly CentralEntry[],
  end: EndRecords,
  chosen: ReadonlySet<CentralEntry>,
  prepare: (ranges: readonly (readonly ByteRange[])[]) => Promise<void>,
): Promise<{ layout: CentralEntry[]; located: ArchiveEntry[] }> {
  const layout = inFileOrder(source, central, end);
  const nextOf = (position: number): number => layout[position + 1]?.offset ?? end.directoryOffset;
  for (const [position, entry] of layout.entries())
    if (leastEnd(entry) > nextOf(position)) throw overlap(source, entry);
  const chosenEntries = [...layout.entries()].filter(([, entry]) => chosen.has(entry));
  await prepare(rangesInOrder(chosenEntries.map(([position, entry]) => [entry, nextOf(position)])));
  await requirePrefix(source, layout[0]?.offset ?? end.directoryOffset);
  const located: ArchiveEntry[] = [];
  for (const [position, entry] of chosenEntries)
    located.push(await locateEntry(source, entry, nextOf(position)));
  return { layout, located };
}

/** Refuses entries that do not begin before the directory. */
function inFileOrder(
  source: ByteSource,
  central: readonly CentralEntry[],
  { directoryOffset }: EndRecords,
): CentralEntry[] {
  const ordered = [...central].sort((a, b) => a.offset - b.offset || a.index - b.index);
  const last = ordered.at(-1);
  if (last && last.offset >= directoryOffset) throw overlap(source, last);
  return ordered;
}

/** Where an entry ends at the earliest according to the directory. */
function leastEnd(entry: CentralEntry): number {
  return leastDataEnd(entry) + (entry.flags & FLAG.descriptor ? SHORTEST_DESCRIPTOR : 0);
}

const leastDataEnd = ({ offset, central, compressedSize }: CentralEntry): number =>
  offset + LOCAL.size + nameOf(central, CENTRAL).length + compressedSize;

/** Entries with this much compressed data, in bytes, are unpacked while their data arrives, after everything else. */
const LARGE = 1024 * 1024;

/**
 * What will be read of some entries, in the order in which it is needed: first the small ones as a whole and what it
 * takes to locate the large ones, then the large ones.
 */
function rangesInOrder(entries: readonly (readonly [entry: CentralEntry, next: number])[]): ByteRange[][] {
  const [first, later]: [ByteRange[], ByteRange[]] = [[], []];
  for (const [entry, next] of entries) {
    const whole = wholeRange(entry, next);
    if (entry.compressedSize < LARGE) first.push(whole);
    else {
      first.push({ start: whole.start, end: entry.offset + likelyLength(entry) });
      first.push({ start: leastDataEnd(entry), end: whole.end });
      later.push(whole);
    }
  }
  return [first, later].filter((ranges) => ranges.length > 0);
}

/** Header, data, descriptor and the first bytes of what follows. */
function wholeRange(entry: CentralEntry, next: number): ByteRange {
  const { offset, compressedSize } = entry;
  const end = offset + likelyLength(entry) + compressedSize + LONGEST_DESCRIPTOR + 4;
  return { start: offset, end: Math.min(next, end) };
}

async function locateEntry(source: ByteSource, entry: CentralEntry, next: number): Promise<ArchiveEntry> {
  const result = await placeEntry(source, entry, next);
  const gap = { start: result.end, end: next };
  if (gap.start < gap.end) await requireGap(source, gap, () => whereOf(source, entry));
  return result;
}

/** Where headers and descriptors are expected. */
function headerRanges(ordered: readonly CentralEntry[], directoryOffset: number): ByteRange[] {
  const ranges = ordered.map((entry) => ({
    start: Math.max(0, Math.min(entry.offset, directoryOffset) - LONGEST_DESCRIPTOR),
    end: Math.min(directoryOffset, entry.offset + likelyLength(entry)),
  }));
  ranges.push({ start: Math.max(0, directoryOffset - LONGEST_DESCRIPTOR), end: directoryOffset });
  return ranges.filter((range) => range.start < range.end);
}

const overlap = (source: ByteSource, entry: CentralEntry): SignpipeError =>
  invalid('zip-entries-overlap', `${whereOf(source, entry)} runs into what follows it`);

const whereOf = (source: ByteSource, entry: CentralEntry): string =>
  `${source.name}: entry ${shown(entry.path)}`;

const disagree = (source: ByteSource, entry: CentralEntry, what: string): SignpipeError =>
  invalid('zip-headers-disagree', `${whereOf(source, entry)}: ${what}`);

async function placeEntry(source: ByteSource, entry: CentralEntry, next: number): Promise<ArchiveEntry> {
  const local = await readLocal(source, entry, next);
  requireSameHeaders(source, entry, local);
  const dataStart = entry.offset + local.length;
  const dataEnd = dataStart + entry.compressedSize;
  if (dataEnd > next) throw overlap(source, entry);
  const descriptor =
    entry.flags & FLAG.descriptor ? await findDescriptor(source, entry, dataEnd, next) : null;
  const end = dataEnd + (descriptor ? descriptorLength(descriptor) : 0);
  // Spread last: an object that is spread first and then extended takes four times the memory (a million entries).
  return { local, dataStart, dataEnd, descriptor, end, ...entry };
}

/** Returns a copy of the local header, so that it keeps no larger buffer in memory. */
async function readLocal(source: ByteSource, entry: CentralEntry, next: number): Promise<Buffer> {
  const { offset } = entry;
  if (offset + LOCAL.size > next) throw overlap(source, entry);
  const likely = await source.read(offset, Math.min(likelyLength(entry), next - offset));
  if (likely.readUInt32LE(0) !== LOCAL_SIGNATURE)
    throw disagree(source, entry, 'no local header where the directory says');
  const length = headerLength(likely, LOCAL);
  if (offset + length > next) throw overlap(source, entry);
  return Buffer.from(length > likely.length ? await source.read(offset, length) : likely.subarray(0, length));
}

/** How long a local header probably is, judging by the central one. In bytes. */
const likelyLength = ({ central }: CentralEntry): number =>
  LOCAL.size + central.length - CENTRAL.size + EXTRA_ROOM;

function requireSameHeaders(source: ByteSource, entry: CentralEntry, local: Buffer): void {
  const { central } = entry;
  if (!nameOf(local, LOCAL).equals(nameOf(central, CENTRAL)))
    throw disagree(source, entry, 'another name in its local header');
  if (local.readUInt16LE(LOCAL.method) !== entry.method)
    throw disagree(source, entry, 'another method in its local header');
  const flags = local.readUInt16LE(LOCAL.flags);
  if ((flags ^ entry.flags) & COMPARED_FLAGS)
    throw disagree(source, entry, 'other flags in its local header');
  const values = readValues(local, LOCAL, () => `${whereOf(source, entry)}: local header`);
  // With a data descriptor the local header may leave all three at zero (APPNOTE 4.4.4, bit 3).
  const late = (value: number): boolean => (flags & FLAG.descriptor) !== 0 && value === 0;
  if (values.crc32 !== entry.crc32 && !late(values.crc32))
    throw disagree(source, entry, 'another CRC-32 in its local header');
  if (values.size !== entry.size && !late(values.size))
    throw disagree(source, entry, 'another uncompressed size in its local header');
  if (values.compressedSize !== entry.compressedSize && !late(values.compressedSize))
    throw disagree(source, entry, 'another compressed size in its local header');
  requireSameNames(source, entry, local, flags);
}

/** A reader that streams sees only local headers: all names that it reads there must be known from the directory. */
function requireSameNames(source: ByteSource, entry: CentralEntry, local: Buffer, flags: number): void {
  const extra = extraOf(local, LOCAL);
  const where = (): string => whereOf(source, entry);
  // Without such a field, it is read like the same bytes in the directory.
  if (!hasUnicodePath(extra, where)) return;
  const directoryPaths = new Set(pathsOf(entry));
  const localPaths = pathsOf(entryName(flags, nameOf(local, LOCAL), extra, where));
  if (!localPaths.every((path) => directoryPaths.has(path)))
    throw disagree(source, entry, 'another Unicode name in its local header');
}

/** Finds the form of descriptor that agrees with the directory, preferably one that reaches to what follows. */
async function findDescriptor(
  source: ByteSource,
  entry: CentralEntry,
  dataEnd: number,
  next: number,
): Promise<Descriptor> {
  const bytes = await source.read(dataEnd, Math.min(LONGEST_DESCRIPTOR, next - dataEnd));
  const forms = [
    { signed: true, wide: true },
    { signed: true, wide: false },
    { signed: false, wide: true },
    { signed: false, wide: false },
  ].filter((form) => isDescriptor(bytes, form, entry));
  const best = forms.find((form) => dataEnd + descriptorLength(form) === next) ?? forms[0];
  if (!best) throw disagree(source, entry, 'its data descriptor is missing or says otherwise');
  return best;
}

function isDescriptor(bytes: Buffer, form: Descriptor, entry: CentralEntry): boolean {
  if (bytes.length < descriptorLength(form)) return false;
  if (form.signed && bytes.readUInt32LE(0) !== DESCRIPTOR_SIGNATURE) return false;
  const at = form.signed ? 4 : 0;
  const wide = (place: number): bigint => bytes.readBigUInt64LE(place);
  return (
    bytes.readUInt32LE(at) === entry.crc32 &&
    (form.wide
      ? wide(at + 4) === BigInt(entry.compressedSize) && wide(at + 12) === BigInt(entry.size)
      : bytes.readUInt32LE(at + 4) === entry.compressedSize && bytes.readUInt32LE(at + 8) === entry.size)
  );
}
