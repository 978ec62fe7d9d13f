import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { shown } from '../../../lib/zip/entry-paths.ts';
import { CENTRAL, extraFields, extraOf, FLAG, METHOD } from '../../../lib/zip/header-fields.ts';
import { DEFAULT_LIMITS, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { readArchive, type Archive } from '../../../lib/zip/read-zip.ts';
import { isEncrypted } from './encrypted.ts';
import { isSamePart, PART, partName } from './part-names.ts';

/** A file of the payload, or the manifest: what the block map lists. */
export interface PayloadEntry {
  readonly entry: ArchiveEntry;
  /** Unescaped, with `/`. */
  readonly name: string;
}

/** The structure of a package or bundle. Its content has not been checked. */
export interface MsixPackage {
  readonly source: ByteSource;
  readonly archive: Archive;
  readonly kind: 'package' | 'bundle';
  /** Everything that precedes the content types, in the order of the file, except the block map. */
  readonly payload: readonly PayloadEntry[];
  readonly manifest: ArchiveEntry;
  readonly blockMap: ArchiveEntry;
  readonly contentTypes: ArchiveEntry;
  /** The catalog of the programs, which signing adds. */
  readonly catalog: ArchiveEntry | null;
  readonly signature: ArchiveEntry | null;
}

/** Deflate gains at most a factor of 1032, and sparse files of programs come near it; the sum is bounded below. */
const LIMITS: ArchiveLimits = { ...DEFAULT_LIMITS, ratio: 1100 };
/** More than this, in bytes, is unpacked only from a package of at least a 200th of it. */
const HARMLESS = 1024 * 1024 * 1024;

/** Largest manifests, block maps, content types and catalogs, in bytes. */
const LARGEST_PART = 16 * 1024 * 1024;
/** Largest signature, in bytes: it is compressed in several ways, to compare. */
const LARGEST_SIGNATURE = 1024 * 1024;

/** Flags that MakeAppx sets: a data descriptor, and the compression effort. */
const KNOWN_FLAGS = FLAG.descriptor | FLAG.utf8 | 0b110;
const ZIP64_FIELD = 0x0001;

/**
 * Reads the structure of a package or bundle, as MakeAppx writes and Windows requires it. Nothing may lie between or behind
 * the entries, and the content types are the last entry, except for what signing adds.
 *
 * | code                            | meaning                                                           |
 * | ------------------------------- | ----------------------------------------------------------------- |
 * | `msix-encrypted`                | an encrypted package, which only Windows can read                 |
 * | `msix-part-missing`             | there are no content types, no block map or no manifest           |
 * | `msix-layout`                   | entries out of order, gaps, extra fields, comments, other methods |
 * | `msix-content-types-not-last`   | entries follow the content types                                  |
 * | `msix-entry-name`               | a name that is malformed, unsafe, or there twice                  |
 * | `msix-part-too-large`           | a manifest, block map or signature of more than 16 MiB            |
 *
 * Throws also `zip-…`.
 */
export async function readPackage(source: ByteSource): Promise<MsixPackage> {
  if (isEncrypted(await source.read(0, Math.min(4, source.size))))
    throw invalid('msix-encrypted', `${source.name}: an encrypted package`, {
      hint: 'sign the package before it is encrypted',
    });
  const archive = await readArchive(source, LIMITS);
  requirePlainLayout(archive);
  requireNoBomb(archive);
  return partsOf(archive);
}

const faulty = (source: ByteSource, why: string): SignpipeError =>
  invalid('msix-layout', `${source.name}: ${why}`, {
    hint: 'pack it with MakeAppx, or a tool that writes packages as it does',
  });

/** Every byte belongs to an entry, in the order of the directory, to the directory or to the end records. */
function requirePlainLayout({ source, layout, entries, end }: Archive): void {
  let at = 0;
  for (const [position, entry] of layout.entries()) {
    if (entry.offset !== at) throw faulty(source, `bytes before entry ${shown(entry.path)} belong to none`);
    if (entries[position] !== entry) throw faulty(source, 'its directory has another order than its entries');
    requirePlainEntry(source, entry);
    at = entry.end;
  }
  if (at !== end.directoryOffset) throw faulty(source, 'bytes before its directory belong to no entry');
  if (end.end.length !== 22) throw faulty(source, 'a comment or other bytes follow its end record');
}

function requirePlainEntry(source: ByteSource, entry: ArchiveEntry): void {
  const where = `entry ${shown(entry.path)}`;
  if (entry.directory || entry.symlink) throw faulty(source, `${where} is not a file`);
  if (entry.method !== METHOD.stored && entry.method !== METHOD.deflated)
    throw faulty(source, `${where} is compressed by method ${entry.method}, which Windows does not read`);
  if (entry.flags & ~KNOWN_FLAGS) throw faulty(source, `${where} has flags that no package has`);
  if (entry.central.readUInt16LE(CENTRAL.commentLength ?? 0) > 0)
    throw faulty(source, `${where} has a comment`);
  for (const { id } of extraFields(extraOf(entry.central, CENTRAL), () => where))
    if (id !== ZIP64_FIELD) throw faulty(source, `${where} has an extra field, which signing would lose`);
}

function requireNoBomb({ source, entries }: Archive): void {
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  if (total > HARMLESS && total > DEFAULT_LIMITS.ratio * source.size)
    throw invalid('zip-bomb', `${source.name}: ${source.size} bytes would unpack to ${total}`);
}

function partsOf(archive: Archive): MsixPackage {
  const { source, entries } = archive;
  const named = namedEntries(archive);
  const find = (part: string): ArchiveEntry | null =>
    named.find(({ name }) => isSamePart(name, part))?.entry ?? null;
  const bundle = find(PART.bundleManifest);
  const contentTypes = required(find(PART.contentTypes), PART.contentTypes, source);
  const blockMap = required(find(PART.blockMap), PART.blockMap, source);
  const manifest = bundle ?? required(find(PART.manifest), PART.manifest, source);
  if (bundle && find(PART.manifest))
    throw faulty(source, 'it has the manifests of a package and of a bundle');
  const [catalog, signature] = [find(PART.catalog), find(PART.signature)];
  if (catalog && !signature) throw faulty(source, 'it has a catalog of its programs, but no signature');
  const added = [contentTypes, ...(signature && catalog ? [catalog] : []), ...(signature ? [signature] : [])];
  const first = entries.length - added.length;
  if (added.some((entry, at) => entries[first + at] !== entry))
    throw invalid('msix-content-types-not-last', `${source.name}: its content types are not the last entry`, {
      hint: 'pack it again: only a signature and a catalog of its programs, which signing adds, may follow them',
    });
  for (const entry of [manifest, blockMap, ...added])
    requireSmall(source, entry, entry === signature ? LARGEST_SIGNATURE : LARGEST_PART);
  const payload = named.slice(0, first).filter(({ entry }) => entry !== blockMap);
  const kind = bundle ? 'bundle' : 'package';
  return {
    source,
    archive,
    kind,
    payload,
    manifest,
    blockMap,
    contentTypes,
    catalog: signature && catalog,
    signature,
  };
}

/** All entries with their unescaped names, no two of which may be the same to Windows. */
function namedEntries({ source, entries }: Archive): PayloadEntry[] {
  const seen = new Set<string>();
  return entries.map((entry) => {
    if (entry.otherPaths.length > 0)
      throw invalid('msix-entry-name', `${source.name}: entry ${shown(entry.path)} has a second name`);
    // The brackets of this one are not escaped.
    const name = partName(entry.path, source.name);
    const place = name.toLowerCase();
    if (seen.has(place))
      throw invalid('msix-entry-name', `${source.name}: entry ${shown(name)} is there twice`);
    seen.add(place);
    return { entry, name };
  });
}

function required(entry: ArchiveEntry | null, part: string, source: ByteSource): ArchiveEntry {
  if (entry) return entry;
  throw invalid('msix-part-missing', `${source.name}: a package without ${part}`, {
    hint: 'pack it with MakeAppx: it is not enough to zip the folder',
  });
}

function requireSmall(source: ByteSource, { path, size }: ArchiveEntry, most: number): void {
  if (size > most) throw invalid('msix-part-too-large', `${source.name}: ${shown(path)} has ${size} bytes`);
}
