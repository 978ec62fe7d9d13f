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
import { requireDistinctPlaces, shown } from './entry-paths.ts';
import { limitHint, type ArchiveLimits } from './limits.ts';
import { METHOD } from './header-fields.ts';
import { forward, ReadAheadSource } from '../bytes/read-ahead-source.ts';

/** A zip with its directory and at least the entries that are to be replaced. */
export interface PartialArchive {
  readonly source: ByteSource;
  readonly limits: ArchiveLimits;
  /** In the order of the central directory. */
  readonly entries: readonly CentralEntry[];
  /** In the order of the file. */
  readonly layout: readonly CentralEntry[];
  /** The entries whose local headers were read, in the order of the file. */
  readonly located: readonly ArchiveEntry[];
  readonly end: EndRecords;
  /**
   * Streams the content; length and CRC-32 are checked at its end, so nothing of it may be used before. Refuses other
   * than plain files, methods other than stored and deflated, and bombs, before the first byte. `scanner` gets the
   * compressed bytes of a deflated entry.
   */
  open(entry: ArchiveEntry, scanner?: DeflateBlockScanner): Promise<AsyncIterable<Buffer>>;
  /** Returns the whole content after all checks of `open`; takes memory of the size in the directory. */
  read(entry: ArchiveEntry, scanner?: DeflateBlockScanner): Promise<Buffer>;
  /**
   * Returns the first `length` bytes of the content, or all of it if it is shorter; fastest in the order of the file.
   * Refuses what `open` refuses except bombs, of which only little is inflated. The rest may still be damaged.
   */
  head(entry: ArchiveEntry, length: number): Promise<Buffer>;
}

/** A zip whose structure is sound; the content of entries is checked as it is read. */
export interface Archive extends PartialArchive {
  readonly entries: readonly ArchiveEntry[];
  readonly layout: readonly ArchiveEntry[];
}

/** Content up to this size, in bytes, is not a zip bomb, however well it was compressed. */
const HARMLESS = 1024 * 1024;

const isBomb = (size: number, compressedSize: number, ratio: number): boolean =>
  size > HARMLESS && size > ratio * compressedSize;

/**
 * Reads the structure of a zip and refuses what is broken, ambiguous or hostile. Every byte of the file is accounted
 * for: entries that do not overlap, the directory, the end records, and before, between and after them only the
 * gaps that gaps.ts allows, which are kept. Reads about 1 MiB at a time, and only headers. `end`: the end records, if
 * they have been read before.
 *
 * Entries that cannot be opened (other methods, symbolic links) are accepted: they are copied as they are.
 */
export async function readArchive(
  source: ByteSource,
  limits: ArchiveLimits,
  knownEnd?: EndRecords,
): Promise<Archive> {
  const { end, central } = await readCentral(source, limits, knownEnd);
  const layout = await readLayout(source, central, end);
  const readAhead = new ReadAheadSource(source, forward(source.size));
  for (const entry of layout) if (entry.descriptor) await requireNoEarlyEnd(readAhead, entry);
  const entries = [...layout].sort((a, b) => a.index - b.index);
  return { source, limits, entries, layout, located: layout, end, ...openers(source, limits) };
}

export interface PartialOptions {
  /** Whether a file is wanted; not called for folders. */
  readonly wanted: (entry: CentralEntry) => boolean;
  /**
   * Called before any wanted entry is read, with these entries and the ranges that will be read: those that are needed
   * first, then others. Can throw.
   */
  readonly prepare?: (
    entries: readonly CentralEntry[],
    ranges: readonly (readonly ByteRange[])[],
  ) => Promise<void>;
}

/**
 * Reads the directory of a zip and the wanted entries, and no other byte: for a remote source. The directory must obey
 * the rules of `readArchive`, and entries must not overlap according to it; the wanted ones are checked completely. Of
 * the others neither local headers nor data nor the bytes between them are read, so what a reader that ignores the
 * directory would find there stays unknown until `compareZips` compares the result with the whole original.
 */
export async function readPartially(
  source: ByteSource,
  limits: ArchiveLimits,
  { wanted, prepare }: PartialOptions,
): Promise<PartialArchive> {
  const { end, central } = await readCentral(source, limits);
  const chosen = central.filter((entry) => !entry.directory && wanted(entry));
  const prepared = (ranges: readonly (readonly ByteRange[])[]): Promise<void> =>
    prepare ? prepare(chosen, ranges) : Promise.resolve();
  const { layout, located } = await locateEntries(source, central, end, new Set(chosen), prepared);
  return { source, limits, entries: central, layout, located, end, ...openers(source, limits) };
}

const openers = (source: ByteSource, limits: ArchiveLimits): Pick<Archive, 'open' | 'read' | 'head'> => {
  const readAhead = new ReadAheadSource(source, forward(source.size));
  return {
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    open: async (entry, scanner) => {
      requireOpenable(source, entry, limits);
      return content(source, entry, scanner);
    },
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    read: async (entry, scanner) => {
      requireOpenable(source, entry, limits);
      // In a buffer of its own, since it may be kept.
      const small = isSmall(entry) && !scanner ? await smallContent(source, entry) : null;
      return small ? unpooled(small) : contentInMemory(source, entry, scanner);
    },
    head: async (entry, length) => {
      requireReadable(source, entry);
      const quick = await quickHead(source, readAhead, entry, length);
      if (quick) return quick;
      const whole = isSmall(entry) ? await contentInMemory(source, entry) : null;
      return whole?.subarray(0, length) ?? headOf(content(source, entry), length);
    },
  };
};

/** The first bytes of a stream, whose rest is not read. */
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

/** Reads and checks the end records and the directory. */
async function readCentral(
  source: ByteSource,
  limits: ArchiveLimits,
  knownEnd?: EndRecords,
): Promise<{ end: EndRecords; central: CentralEntry[] }> {
  if (source.size > limits.archive)
    throw invalid(
      'zip-archive-too-large',
      `${source.name}: ${source.size} bytes; ${limits.archive} allowed`,
      { hint: limitHint('archive') },
    );
  const end = knownEnd ?? (await readEnd(source));
  const central = await readDirectory(source, end, limits.entries);
  requireDistinctPlaces(central, (code, message) => invalid(code, `${source.name}: ${message}`));
  return { end: { ...end, count: central.length }, central };
}

const bomb = (what: string, compressed: number, size: number): SignpipeError =>
  invalid('zip-bomb', `${what}: ${compressed} bytes would unpack to ${size}`, { hint: limitHint('ratio') });

/** Checks that the content of an entry can be read: a plain file, stored or deflated. */
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
 * Checks that an entry can be opened and replaced: a plain file, stored or deflated, within the limits. The limits hold
 * only for these: other entries are copied as they are, whatever their size.
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
 * Checks that entries can be opened, and that all of them together are not a zip bomb: each of many can be small enough by
 * itself. Throws what `requireOpenable` throws.
 */
export function requireAllOpenable(
  source: ByteSource,
  entries: readonly CentralEntry[],
  limits: ArchiveLimits,
): void {
  for (const entry of entries) requireOpenable(source, entry, limits);
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  const compressed = entries.reduce((sum, { compressedSize }) => sum + compressedSize, 0);
  if (isBomb(total, compressed, limits.ratio))
    throw bomb(`${source.name}: what is to be signed in it`, compressed, total);
}
