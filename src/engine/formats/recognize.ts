import { isZip, isZipSource } from '../../lib/zip/end-of-central-directory.ts';
import { invalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { requireRoom } from './pe/pe-file.ts';
import { mayBeZip } from './program-names.ts';
import { FORMATS } from './registry.ts';
import type { FileFormat, SignableFile } from './signable-file.ts';

/** How many leading bytes recognition asks for. */
export const HEAD_SIZE = 4096;

const formatOf = (head: Buffer, name: string): FileFormat | undefined =>
  FORMATS.find((format) => format.looksLike(head, name));

const headOf = (source: ByteSource): Promise<Buffer> => source.read(0, Math.min(source.size, HEAD_SIZE));

/** Opens a file for signing or verifying; throws `not-signable`, or the format's errors such as `pe-…`. */
export async function openSignableFile(source: ByteSource): Promise<SignableFile> {
  const format = formatOf(await headOf(source), source.name);
  if (format) return format.open(source);
  throw invalid('not-signable', `${source.name}: not a file that can carry an Authenticode signature`, {
    hint: `these can: ${FORMATS.map(({ description }) => description).join('; ')}`,
  });
}

/** Throws `pe-too-large` if no format can sign a file of this size; asked before it is unpacked. */
export const requireSignableSize = requireRoom;

/** `program` is any file that can be signed. Whether a zip is a package shows when it is read: see `packages.ts`. */
type FileKind = 'zip' | 'program';

/**
 * Recognises a file by its content, and by its name if its format has no marks; null if it is of neither kind. The
 * first bytes decide, or the last ones for a zip with a script before it. Opening the file may still fail: a header
 * beyond the first `HEAD_SIZE` bytes is assumed to be there.
 */
export async function recognize(source: ByteSource): Promise<FileKind | null> {
  if (await isZipSource(source)) return 'zip';
  return formatOf(await headOf(source), source.name) ? 'program' : null;
}

/** Recognises an entry of a zip by its first `HEAD_SIZE` bytes and its path; see `recognize`. */
export function recognizeHead(head: Buffer, path: string): FileKind | null {
  if (formatOf(head, path)) return 'program';
  return isZip(head) ? 'zip' : null;
}

/**
 * Recognises a file; see `recognize`. A program whose name ends in `.zip`, `.jar` or the like throws
 * `zip-is-program`: unpackers look for a zip at a file's end, so it could be both, and its content would seem signed.
 */
export async function fileKindOf(source: ByteSource): Promise<FileKind | null> {
  const kind = await recognize(source);
  if (kind === 'program') requireProgramName(source.name);
  return kind;
}

/** Checks that a program, alone or in a zip, does not have the name of a zip; see `fileKindOf`. */
export function requireProgramName(name: string): void {
  if (!mayBeZip(name)) return;
  throw invalid('zip-is-program', `${name}: its name says zip, but it is a Windows program`, {
    hint: 'give a program the name of a program (.exe); an unpacker would take it for a zip and see other files in it',
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
