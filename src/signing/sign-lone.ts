import type { FileHandle } from 'node:fs/promises';
import { invalid } from '../errors.ts';
import { writeAtomically } from '../io/atomic.ts';
import { hashParts } from '../io/bulk.ts';
import { whole } from '../io/joined.ts';
import { patchCopy } from '../io/patch.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { together } from '../io/together.ts';
import { requireSomething, withoutContent, type SignedFile, type SignFileOptions } from './signed-file.ts';
import { checkOwnWork, entryOf, keptSigner, makeSigned, type SignedEntry } from './sign-program.ts';

/**
 * Signs a program that is not in a zip; the output appears whole and verified, or not at all. What
 * is verified is the very file that then gets the output's name.
 */
export async function signLone(
  source: ByteSource,
  output: string,
  options: SignFileOptions,
): Promise<SignedFile> {
  if (options.pins)
    throw invalid(
      'pinned-entry-missing',
      `${source.name}: zipname pins entries of it, but it is a program, not a zip`,
      {
        hint: 'pin the file itself: sha256sum FILE',
      },
    );
  const signer = await keptSigner(source, options.alreadySigned);
  requireSomething(signer === null ? 1 : 0, signer === null ? [] : [{ path: '', signer }], 1, source.name);
  options.onProgress?.(0, 1);
  const entry = await writeAtomically(output, (file, path) => writeSigned(source, { file, path }, options));
  options.onProgress?.(1, 1);
  const { after } = entry;
  return { kind: 'program', entries: 1, signed: [withoutContent(entry)], kept: [], output: { ...after } };
}

interface Draft {
  readonly file: FileHandle;
  readonly path: string;
}

/**
 * A large program is read twice, by several threads each time: as it is copied and hashed, and as it
 * came out. It goes to the disk while it is checked.
 */
async function writeSigned(source: ByteSource, draft: Draft, options: SignFileOptions): Promise<SignedEntry> {
  const [before, signed] = await together([copyAndHash(source, draft.file), makeSigned(source, options)]);
  await patchCopy(draft.file, signed.patch);
  return withFile(
    draft.path,
    async (made) => {
      const [after] = await together([checkOwnWork(source, made, options), draft.file.sync()]);
      return entryOf('', { before: { source, sha256: before }, signed, made, after });
    },
    source.name,
  );
}

/** The SHA-256 in hex of what is copied: what is signed then is what the receipt calls unsigned. */
async function copyAndHash(source: ByteSource, copyTo: FileHandle): Promise<string> {
  const { digest } = await hashParts([whole(source)], { algorithm: 'sha256', copyTo });
  return digest.toString('hex');
}
