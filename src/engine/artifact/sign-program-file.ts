import type { FileHandle } from 'node:fs/promises';
import { invalid } from '../../lib/errors.ts';
import { writeAtomically } from '../../lib/bytes/atomic-file.ts';
import { hashRanges } from '../../lib/bytes/hash-and-compare.ts';
import { fillFrom, writeAll } from '../../lib/bytes/read-write-fully.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { whole } from '../../lib/bytes/concatenated-source.ts';
import { patchInPlace } from '../../lib/bytes/patched-source.ts';
import { truncated } from '../../lib/bytes/extents.ts';
import { BufferSource, SMALL_FILE, withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import {
  requireOurs,
  requireSomething,
  withoutContent,
  type SignedFile,
  type SignArtifactOptions,
} from './sign-result.ts';
import { checkOwnWork, entryOf, keptSigner, makeSigned, type SignedEntry } from './sign-program.ts';

/**
 * Signs a program that is not in a zip; the output appears whole and verified, or not at all. What
 * is verified is the very file that then gets the output's name. Of a large one, each SHA-256 takes as long as
 * signing it: where nobody will ask, they are left out, and empty.
 */
export async function signLone(
  source: ByteSource,
  output: string,
  options: SignArtifactOptions,
  hashed: boolean,
): Promise<SignedFile> {
  if (options.pins)
    throw invalid(
      'pinned-entry-missing',
      `${source.name}: zipname pins entries of it, but it is a program, not a zip`,
      {
        hint: 'pin the file itself: sha256sum FILE',
      },
    );
  requireOurs(source.name, options);
  const signer = await keptSigner(source, '', options);
  requireSomething(signer === null ? 1 : 0, signer === null ? [] : [{ path: '', ...signer }], 1, source.name);
  options.onProgress?.(0, 1);
  const entry = await writeAtomically(output, (file, path) =>
    source.size > SMALL_FILE
      ? writeLarge(source, { file, path, hashed }, options)
      : writeSmall(source, file, options),
  );
  options.onProgress?.(1, 1);
  const { after } = entry;
  return {
    kind: 'program',
    entries: 1,
    signed: [withoutContent(entry)],
    kept: [],
    leftAlone: [],
    output: { ...after },
  };
}

/** A small program is written at once, and read back. */
async function writeSmall(
  source: ByteSource,
  file: FileHandle,
  options: SignArtifactOptions,
): Promise<SignedEntry> {
  const signed = await makeSigned(source, options);
  const content = await signed.content.read(0, signed.content.size);
  await writeAll(file, content, 0);
  const made = await readBack(file, content.length, source.name);
  const [before, after] = await settleAll([
    sha256OfSource(source),
    sha256OfSource(made),
    checkOwnWork(source, made, options),
    file.sync(),
  ]);
  return entryOf('', { before: { source, sha256: before }, signed, made, after });
}

async function readBack(file: FileHandle, size: number, name: string): Promise<ByteSource> {
  const content = Buffer.allocUnsafe(size);
  if (await fillFrom(file, content, 0)) return new BufferSource(content, name);
  throw truncated(name);
}

interface Draft {
  readonly file: FileHandle;
  readonly path: string;
  readonly hashed: boolean;
}

/**
 * A large program is read twice, by several threads each time: as it is copied and hashed, and as it
 * came out. It goes to the disk while it is checked.
 */
async function writeLarge(
  source: ByteSource,
  { file, path, hashed }: Draft,
  options: SignArtifactOptions,
): Promise<SignedEntry> {
  const [before, signed] = await settleAll([copyAndHash(source, file, hashed), makeSigned(source, options)]);
  await patchInPlace(file, signed.content);
  return withFile(
    path,
    async (made) => {
      const [, after] = await settleAll([
        checkOwnWork(source, made, options),
        hashed ? sha256OfSource(made) : '',
        file.sync(),
      ]);
      return entryOf('', { before: { source, sha256: before }, signed, made, after });
    },
    source.name,
  );
}

/** The SHA-256 in hex of what is copied: what is signed then is what the receipt calls unsigned. */
async function copyAndHash(source: ByteSource, copyTo: FileHandle, hashed: boolean): Promise<string> {
  const { digest } = await hashRanges([whole(source)], { ...(hashed && { algorithm: 'sha256' }), copyTo });
  return digest.toString('hex');
}
