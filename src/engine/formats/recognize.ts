import { isZip, isZipSource } from '../../lib/zip/end-of-central-directory.ts';
import { invalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { pe } from './pe/pe-file.ts';
import { extensionOf } from './file-extension.ts';
import { mayBeZip } from './program-names.ts';
import { FORMATS } from './registry.ts';
import type { FileFormat, SignableFile } from './signable-file.ts';

/** How many leading bytes recognition asks for. */
export const HEAD_SIZE = 4096;

const headOf = (source: ByteSource): Promise<Buffer> => source.read(0, Math.min(source.size, HEAD_SIZE));

/** The first format that recognises a file; undefined if none does. */
async function formatOf(source: ByteSource): Promise<FileFormat | undefined> {
  const head = await headOf(source);
  for (const format of FORMATS)
    if (format.looksLike(head, source.name) && ((await format.confirm?.(source)) ?? true)) return format;
  return undefined;
}

/** Opens a file for signing or verifying; throws `not-signable`, or the format's errors such as `pe-…`. */
export async function openSignableFile(source: ByteSource): Promise<SignableFile> {
  const format = await formatOf(source);
  if (format) return format.open(source);
  throw invalid('not-signable', `${source.name}: not a file that can carry an Authenticode signature`, {
    hint: `these can: ${FORMATS.map(({ description }) => description).join('; ')}`,
  });
}

/**
 * Throws, as `pe-too-large`, if no file of this size and name can be signed; asked before it is unpacked. A name without
 * a known extension is taken for that of a PE file.
 */
export function requireSignableSize(size: number, name: string): void {
  const extension = extensionOf(name) ?? '';
  (FORMATS.find(({ extensions }) => extensions.includes(extension)) ?? pe).requireSize?.(size, name);
}

/** `program` is any file that can be signed. Whether a zip is a package that cannot shows when it is read: see `packages.ts`. */
type FileKind = 'zip' | 'program';

/**
 * Recognises a file by its content, and by its name if its format has no marks; null if it is of neither kind. The
 * first bytes decide, or the last ones for a zip with a script before it; a package is distinguished from other zips by its
 * directory. Opening the file may still fail: a header beyond the first `HEAD_SIZE` bytes is assumed to be there.
 */
export async function recognize(source: ByteSource): Promise<FileKind | null> {
  return kindOf(await formatOf(source), source);
}

async function kindOf(format: FileFormat | undefined, source: ByteSource): Promise<FileKind | null> {
  if (format && !format.byName) return 'program';
  if (await isZipSource(source)) return 'zip';
  return format ? 'program' : null;
}

/**
 * Recognises an entry of a zip by its first `HEAD_SIZE` bytes and its path; see `recognize`. `unsure` if all of the entry
 * has to be read to know, `named` if only its name says that it is a program.
 */
export function recognizeHead(head: Buffer, path: string): FileKind | 'unsure' | 'named' | null {
  const formats = FORMATS.filter((format) => format.looksLike(head, path));
  const marked = formats.filter((format) => !format.byName);
  if (marked.some((format) => !format.confirm)) return 'program';
  if (marked.length > 0) return 'unsure';
  if (isZip(head)) return 'zip';
  return formats.length > 0 ? 'named' : null;
}

const NOTHING = Buffer.alloc(0);

/** The format of files without marks that a path names, if there is one. */
export const formatByName = (path: string): FileFormat | undefined =>
  FORMATS.find((format) => format.byName && format.looksLike(NOTHING, path));

/**
 * Recognises a file; see `recognize`. A program that is no zip and whose name ends in `.zip`, `.jar` or the like throws
 * `zip-is-program`: unpackers look for a zip at a file's end, so it could be both, and its content would seem signed.
 * A zip with the name of a script throws `script-is-zip`.
 */
export async function fileKindOf(source: ByteSource): Promise<FileKind | null> {
  const format = await formatOf(source);
  const kind = await kindOf(format, source);
  if (kind === 'zip') requireNoScriptName(source.name);
  if (kind !== 'program' || format?.isZip || !mayBeZip(source.name)) return kind;
  throw invalid(
    'zip-is-program',
    `${source.name}: its name says zip, but its content is that of a program (${format?.name})`,
    {
      hint: `give it a name with its own extension (.${format?.extensions[0]}); an unpacker would take it for a zip and see other files in it`,
    },
  );
}

/** Whether the files of a format, by its name, have no marks, so that they are known only by name. */
export const isRecognizedByName = (format: string): boolean =>
  FORMATS.some(({ name, byName }) => name === format && byName === true);

/** Windows would run the file as a script, which would seem to be signed by the programs in the zip. */
function requireNoScriptName(name: string): void {
  if (!formatByName(name)) return;
  throw invalid('script-is-zip', `${name}: its name says script, but it is a zip, or has one at its end`, {
    hint: 'give a zip the name of a zip; a script cannot carry an archive',
  });
}

/** First bytes of an AppleDouble file (RFC 1740 appendix B). */
const APPLE_DOUBLE = Buffer.from('00051607', 'hex');

/**
 * Whether an entry is an AppleDouble file, in which macOS packs a file's resource fork and attributes: `._NAME`
 * beside NAME. It has the name of a program but is not one.
 */
export const isAppleDouble = (path: string, head: Buffer): boolean =>
  path.slice(path.lastIndexOf('/') + 1).startsWith('._') &&
  head.subarray(0, APPLE_DOUBLE.length).equals(APPLE_DOUBLE);
