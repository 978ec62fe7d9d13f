import { invalid, type SignpipeError } from '../errors.ts';
import type { ByteRange } from '../bytes/byte-range.ts';
import { unpooled } from '../bytes/read-write-fully.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { content, contentInMemory } from './read-entry.ts';
import type { DeflateBlockScanner } from './deflate-block-scanner.ts';
import { readDirectory, type CentralEntry } from './central-directory.ts';
import { requireNoEarlyEnd } from './data-descriptors.ts';
import { readEnd, type EndRecords } from './end-of-central-directory.ts';
import { isSmall, quickHead, smallContent } from './read-entry-head.ts';
import { locateEntries, readLayout, type ArchiveEntry } from './local-headers.ts';
import { requireDistinctPlaces, shown } from './entry-names.ts';
import { limitHint, type ArchiveLimits } from './limits.ts';
import { METHOD } from './header-fields.ts';
import { forward, ReadAheadSource } from '../bytes/read-ahead-source.ts';

export { isZip, isZipSource } from './end-of-central-directory.ts';
export { DEFAULT_LIMITS, type ArchiveLimits } from './limits.ts';
export type { CentralEntry } from './central-directory.ts';
export type { ArchiveEntry } from './local-headers.ts';

/** A zip of which the directory is known, and some entries: what it takes to replace those. */
export interface PartialArchive {
  readonly source: ByteSource;
  readonly limits: ArchiveLimits;
  /** In the order of the central directory. */
  readonly entries: readonly CentralEntry[];
  /** In the order of the file. */
  readonly layout: readonly CentralEntry[];
  /** Those whose local headers were read, in the order of the file. */
  readonly located: readonly ArchiveEntry[];
  readonly end: EndRecords;
  /**
   * The inflated content, with length and CRC-32 checked at its end: use nothing of it before. Refuses
   * what is no plain file, methods other than stored and deflated, and bombs, before the first byte. A
   * scanner sees the packed bytes of what is deflated.
   */
  open(entry: ArchiveEntry, scanner?: DeflateBlockScanner): Promise<AsyncIterable<Buffer>>;
  /** The same in memory, all of it checked: for whoever has room for the size that the directory tells. */
  read(entry: ArchiveEntry, scanner?: DeflateBlockScanner): Promise<Buffer>;
  /**
   * The first `length` bytes of the content, or all of it if it is shorter; quickest in the order of the file.
   * Refuses what is no plain file, and other methods; bombs can be looked at, since little is unpacked of them.
   * What is longer than `length` may still turn out to be damaged.
   */
  head(entry: ArchiveEntry, length: number): Promise<Buffer>;
}

/** A zip whose structure is sound; the entries' content is checked as it is opened. */
export interface Archive extends PartialArchive {
  readonly entries: readonly ArchiveEntry[];
  readonly layout: readonly ArchiveEntry[];
}

/** Content this small is no bomb, however well it was compressed. In bytes. */
const HARMLESS = 1024 * 1024;

const isBomb = (size: number, compressedSize: number, ratio: number): boolean =>
  size > HARMLESS && size > ratio * compressedSize;

/**
 * Reads a zip's structure and refuses by name what is broken, ambiguous or hostile. Every byte of the
 * file is accounted for: entries in order and apart, the directory, the end records, and before, between
 * and behind them nothing but the gaps that gaps.ts allows, which are kept and copied. Reads about 1 MiB at a
 * time, and only where headers are.
 *
 * Entries that cannot be opened (other methods, symbolic links) are let be: they are copied as they are.
 */
export async function readArchive(source: ByteSource, limits: ArchiveLimits): Promise<Archive> {
  const { end, central } = await readCentral(source, limits);
  const layout = await readLayout(source, central, end);
  const nearby = new ReadAheadSource(source, forward(source.size));
  for (const entry of layout) if (entry.descriptor) await requireNoEarlyEnd(nearby, entry);
  const entries = [...layout].sort((a, b) => a.index - b.index);
  return { source, limits, entries, layout, located: layout, end, ...openers(source, limits) };
}

export interface PartialOptions {
  /** Which files are wanted; never called for a folder. */
  readonly wanted: (entry: CentralEntry) => boolean;
  /** Told, before any of them is read, the wanted entries and where they lie, in turn; throws to stop. */
  readonly prepare?: (
    entries: readonly CentralEntry[],
    turns: readonly (readonly ByteRange[])[],
  ) => Promise<void>;
}

/**
 * Reads a zip's directory and the wanted entries of it, and no other byte: for a source that lies far
 * away. The directory is held to the same rules as `readArchive` has, and entries must lie apart as far
 * as it tells; the wanted ones are checked in full. Of the others neither local headers nor data nor
 * the bytes between them are seen, so what a reader that passes over the directory makes of them
 * stays unknown: `compareZips` with the whole original tells.
 */
export async function readPartially(
  source: ByteSource,
  limits: ArchiveLimits,
  { wanted, prepare }: PartialOptions,
): Promise<PartialArchive> {
  const { end, central } = await readCentral(source, limits);
  const chosen = central.filter((entry) => !entry.directory && wanted(entry));
  const prepared = (turns: readonly (readonly ByteRange[])[]): Promise<void> =>
    prepare ? prepare(chosen, turns) : Promise.resolve();
  const { layout, located } = await locateEntries(source, central, end, new Set(chosen), prepared);
  return { source, limits, entries: central, layout, located, end, ...openers(source, limits) };
}

const openers = (source: ByteSource, limits: ArchiveLimits): Pick<Archive, 'open' | 'read' | 'head'> => {
  const nearby = new ReadAheadSource(source, forward(source.size));
  return {
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    open: async (entry, scanner) => {
      requireOpenable(source, entry, limits);
      return content(source, entry, scanner);
    },
    // eslint-disable-next-line require-await -- as above
    read: async (entry, scanner) => {
      requireOpenable(source, entry, limits);
      // In memory of its own, for it may be kept.
      const small = isSmall(entry) && !scanner ? await smallContent(source, entry) : null;
      return small ? unpooled(small) : contentInMemory(source, entry, scanner);
    },
    head: async (entry, length) => {
      requireReadable(source, entry);
      const quick = await quickHead(source, nearby, entry, length);
      if (quick) return quick;
      const whole = isSmall(entry) ? await contentInMemory(source, entry) : null;
      return whole?.subarray(0, length) ?? headOf(content(source, entry), length);
    },
  };
};

/** The first bytes of a stream, which is not read any further. */
async function headOf(chunks: AsyncIterable<Buffer>, length: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    size += chunk.length;
    if (size >= length) break;
  }
  return Buffer.concat(parts).subarray(0, length);
}

/** End records and directory: everything that is judged without a look at the entries themselves. */
async function readCentral(
  source: ByteSource,
  limits: ArchiveLimits,
): Promise<{ end: EndRecords; central: CentralEntry[] }> {
  if (source.size > limits.archive)
    throw invalid(
      'zip-archive-too-large',
      `${source.name}: ${source.size} bytes; ${limits.archive} allowed`,
      { hint: limitHint('archive') },
    );
  const end = await readEnd(source);
  const central = await readDirectory(source, end, limits.entries);
  requireDistinctPlaces(central, (code, message) => invalid(code, `${source.name}: ${message}`));
  return { end: { ...end, count: central.length }, central };
}

const bomb = (what: string, packed: number, size: number): SignpipeError =>
  invalid('zip-bomb', `${what}: ${packed} bytes would unpack to ${size}`, {
    hint: limitHint('ratio'),
  });

/** Whether an entry's content can be read at all: a plain file, stored or deflated. */
function requireReadable(source: ByteSource, entry: CentralEntry): void {
  const where = `${source.name}: entry ${shown(entry.path)}`;
  if (entry.directory || entry.symlink)
    throw invalid('zip-entry-not-a-file', `${where} is ${entry.directory ? 'a folder' : 'a symbolic link'}`, {
      hint: 'name only plain files in signing.files',
    });
  if (entry.method !== METHOD.stored && entry.method !== METHOD.deflated)
    throw invalid('zip-method-unsupported', `${where} is compressed by method ${entry.method}`, {
      hint: 'pack what is to be signed with deflate (8), or store it (0)',
    });
}

/**
 * Whether an entry can be opened and replaced: a plain file, stored or deflated, within the limits. These
 * concern only what is opened: other entries are copied as they are, whatever they would unpack to.
 */
export function requireOpenable(source: ByteSource, entry: CentralEntry, limits: ArchiveLimits): void {
  requireReadable(source, entry);
  const where = `${source.name}: entry ${shown(entry.path)}`;
  if (entry.size > limits.entry)
    throw invalid('zip-entry-too-large', `${where}: ${entry.size} bytes; ${limits.entry} allowed`, {
      hint: limitHint('entry'),
    });
  if (isBomb(entry.size, entry.compressedSize, limits.ratio))
    throw bomb(where, entry.compressedSize, entry.size);
}

/**
 * Checks that entries can be opened, and that all of them unpacked together do not take absurdly more room than
 * they took packed: each of many can be small enough by itself. Throws what `requireOpenable` throws.
 */
export function requireModest(
  source: ByteSource,
  entries: readonly CentralEntry[],
  limits: ArchiveLimits,
): void {
  for (const entry of entries) requireOpenable(source, entry, limits);
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  const packed = entries.reduce((sum, { compressedSize }) => sum + compressedSize, 0);
  if (isBomb(total, packed, limits.ratio))
    throw bomb(`${source.name}: what is to be signed in it`, packed, total);
}
