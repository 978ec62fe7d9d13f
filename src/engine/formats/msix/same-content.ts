import { firstDifference } from '../../../lib/bytes/hash-and-compare.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { endBytes } from '../../../lib/zip/end-of-central-directory.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { dosTimeOf, entryHeaders } from '../../../lib/zip/edit-entries.ts';
import { packageEnd, plainEntry, plainRecord } from '../../../lib/zip/package-records.ts';
import { requireOwnCatalog } from './check-catalog.ts';
import type { ContentTypes } from './content-types.ts';
import type { Identity } from './manifest.ts';
import type { MsixPackage } from './package.ts';
import { PART } from './part-names.ts';

/** The parts of an open package that are compared. */
interface PackageContent {
  readonly pkg: MsixPackage;
  readonly parts: {
    readonly contentTypes: Buffer;
    readonly types: ContentTypes;
    readonly catalog: Buffer | null;
    readonly identity: Identity;
  };
}

/**
 * Requires that `after` equals `before` except for what signing writes: everything before the content types is equal, these
 * are the original's with what signing adds to them, a catalog is the one of the programs, and all headers and records are
 * as they have to be. How parts are compressed is free, what they unpack to is not.
 *
 * | code                    | meaning                                                            |
 * | ----------------------- | ------------------------------------------------------------------ |
 * | `strip-length-differs`  | what precedes the content types became longer or shorter           |
 * | `strip-body-differs`    | a byte of an entry differs; the message says of which              |
 * | `strip-added-differs`   | content types, catalog or records are not what signing writes      |
 */
export async function requireSamePackage(before: PackageContent, after: PackageContent): Promise<void> {
  await requireSameEntries(before.pkg, after.pkg);
  requireContentTypes(before, after);
  requireRecords(before.pkg, after.pkg);
  const { catalog } = after.parts;
  if (!catalog) return;
  requireHeaders(after.pkg, after.pkg.catalog, PART.catalog, catalog, before.pkg);
  await requireOwnCatalog(after.pkg, catalog, before.parts.identity);
}

async function requireSameEntries(before: MsixPackage, after: MsixPackage): Promise<void> {
  const [older, newer] = [before.contentTypes.offset, after.contentTypes.offset];
  const range = { start: 0, end: Math.min(older, newer) };
  const at = await firstDifference(
    [{ source: before.source, ...range }],
    [{ source: after.source, ...range }],
  );
  if (at !== undefined) {
    const entry = before.archive.layout.findLast(({ offset }) => offset <= at);
    throw invalid(
      'strip-body-differs',
      `${after.source.name}: it is not ${before.source.name} plus a signature: byte ${at}, in "${entry?.path}", differs`,
    );
  }
  if (older !== newer)
    throw invalid(
      'strip-length-differs',
      `${after.source.name}: its content types follow ${newer} bytes, those of ${before.source.name} ${older}`,
    );
}

const addedDiffers = (after: MsixPackage, why: string): SignpipeError =>
  invalid('strip-added-differs', `${after.source.name}: ${why} what signing writes`);

function requireContentTypes(before: PackageContent, after: PackageContent): void {
  const expected = before.parts.types.signed(after.parts.catalog !== null);
  if (!after.parts.contentTypes.equals(expected))
    throw addedDiffers(after.pkg, 'its [Content_Types].xml is not');
  requireHeaders(after.pkg, after.pkg.contentTypes, PART.contentTypes, expected, before.pkg);
}

/** Requires the headers that signing writes for a part, which has the time that the content types had. */
function requireHeaders(
  after: MsixPackage,
  entry: ArchiveEntry | null,
  name: string,
  content: Buffer,
  before: MsixPackage,
): void {
  if (!entry) throw addedDiffers(after, `its ${name} is not`);
  const deflated = Buffer.alloc(entry.compressedSize);
  const expected = plainEntry({ name, content, deflated, at: dosTimeOf(before.contentTypes) });
  const [local, central] = entryHeaders(expected, entry.offset);
  if (!entry.local.equals(local) || !entry.central.equals(central))
    throw addedDiffers(after, `the headers of its ${name} are not`);
}

function requireRecords(before: MsixPackage, after: MsixPackage): void {
  const older = before.archive.layout.filter(({ offset }) => offset < before.contentTypes.offset);
  const newer = after.archive.layout.slice(0, older.length);
  if (older.some((entry, at) => !newer[at]?.central.equals(plainRecord(entry))))
    throw addedDiffers(after, 'its directory is not');
  const { end } = after.archive;
  const directory = { count: end.count, offset: end.directoryOffset, size: end.directorySize };
  if (!endBytes(end).equals(packageEnd(directory))) throw addedDiffers(after, 'its end records are not');
}
