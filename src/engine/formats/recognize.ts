import { isZipSource } from '../../lib/zip/end-of-central-directory.ts';
import { HEAD_SIZE, isSignable } from './open-file.ts';
import { mayBeZip } from './program-names.ts';
import { invalid } from '../../lib/errors.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';

export type FileKind = 'zip' | 'program';

/**
 * What a file is, or null if it is neither: its first bytes decide, or its last ones for a zip with a script
 * before it. A program whose name ends in `.zip`, `.jar` or the like throws `zip-is-program`: unpackers look for
 * a zip at a file's end, so it could be both, and what is inside would pass for signed.
 */
export async function fileKindOf(source: ByteSource, name = source.name): Promise<FileKind | null> {
  const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
  if (await isZipSource(source)) return 'zip';
  if (!isSignable(head)) return null;
  requireProgramName(name);
  return 'program';
}

/** Checks that a program, alone or in a zip, does not have the name of a zip; see `fileKindOf`. */
export function requireProgramName(name: string): void {
  if (!mayBeZip(name)) return;
  throw invalid('zip-is-program', `${name}: its name says zip, but it is a Windows program`, {
    hint: 'give a program the name of a program (.exe); an unpacker would take it for a zip and see other files in it',
  });
}
