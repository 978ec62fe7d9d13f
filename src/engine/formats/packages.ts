import { readEnd } from '../../lib/zip/end-of-central-directory.ts';
import { pathsOf, type EntryName } from '../../lib/zip/entry-paths.ts';
import {
  readArchive,
  readPartially,
  type Archive,
  type PartialArchive,
  type PartialOptions,
} from '../../lib/zip/read-zip.ts';
import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';

/**
 * Packages that are zips and that a changed file breaks, since they hold a signature over the whole or a list of
 * digests. They are recognised by their entries, since they can have any name. The patterns match lower-case paths.
 */
const PACKAGES: readonly { readonly what: string; readonly has: RegExp }[] = [
  // Most are recognised before, and signed; these have names that readers of zips read differently.
  {
    what: 'an APPX or MSIX package',
    has: /^(?:appxblockmap\.xml|appxsignature\.p7x|appxmetadata\/(?:appxbundlemanifest\.xml|codeintegrity\.cat))$/,
  },
  // JAR File Specification, "Signed JAR File"; APK signature scheme v1; Firefox's extensions too.
  {
    what: 'a signed JAR or APK package',
    has: /^meta-inf\/(?:[^/]+\.(?:sf|rsa|dsa|ec)|sig-[^/]+|cose\.sig)$/,
  },
  // Open Packaging Conventions (ECMA-376 part 2, section 10): VSIX, and signed Office documents.
  {
    what: 'a signed VSIX package',
    has: /^package\/services\/digital-signature\/.|^_xmlsignatures\/.|\.psd(?:or|sxs|cer)$/,
  },
];

/** A manifest makes a package only together with the content types, since unpacked packages have it too. */
const MANIFEST = 'appxmanifest.xml';
const CONTENT_TYPES = '[content_types].xml';

/** File names that only packages have, for packages whose entries do not show it. */
const PACKAGE_NAME = /\.(?:appx|msix)(?:bundle)?$/i;

const isPackage = (name: string, what: string, why: string): SignpipeError =>
  invalid('zip-is-package', `${name}: is ${what} (${why}), not a zip of programs`, {
    hint: 'a package is signed as a whole: sign its programs before packing, and the package with its own tools',
  });

/** Throws `zip-is-package` if the entries, or the file's name, are those of a package. */
function requireNoPackage(name: string, entries: readonly EntryName[]): void {
  const manifests = new Set<string>();
  for (const path of entries.flatMap(pathsOf)) {
    const folded = path.toLowerCase();
    const match = PACKAGES.find(({ has }) => has.test(folded));
    if (match) throw isPackage(name, match.what, `it holds ${path}`);
    if (folded === MANIFEST || folded === CONTENT_TYPES) manifests.add(folded);
  }
  if (manifests.size === 2) throw isPackage(name, 'an APPX or MSIX package', `it holds ${MANIFEST}`);
  if (PACKAGE_NAME.test(name)) throw isPackage(name, 'an APPX or MSIX package', 'its name says so');
}

/** The end of the APK Signing Block, which precedes the directory (APK signature scheme v2 and later). */
const APK_MAGIC = 'APK Sig Block 42';

async function requireNoApk(source: ByteSource, directoryOffset: number): Promise<void> {
  if (directoryOffset < APK_MAGIC.length) return;
  const before = await source.read(directoryOffset - APK_MAGIC.length, APK_MAGIC.length);
  if (before.toString('latin1') === APK_MAGIC)
    throw isPackage(source.name, 'a signed APK package', 'it holds an APK Signing Block');
}

/** Reads a zip of programs; throws what `readArchive` does, and `zip-is-package` for a package. */
export async function readZip(source: ByteSource, limits: ArchiveLimits): Promise<Archive> {
  // First, since `readArchive` would report this block as bytes that belong to no entry.
  const end = await readEnd(source);
  await requireNoApk(source, end.directoryOffset);
  const archive = await readArchive(source, limits, end);
  requireNoPackage(source.name, archive.entries);
  return archive;
}

/** Reads the wanted entries of a zip of programs; throws what `readPartially` does, and `zip-is-package`. */
export async function readZipPartially(
  source: ByteSource,
  limits: ArchiveLimits,
  options: PartialOptions,
): Promise<PartialArchive> {
  const archive = await readPartially(source, limits, options);
  await requireNoApk(source, archive.end.directoryOffset);
  requireNoPackage(source.name, archive.entries);
  return archive;
}
