import type { FileHandle } from 'node:fs/promises';
import { invalid, type SignpipeError } from '../../lib/errors.ts';
import { writeAtomically } from '../../lib/bytes/atomic-file.ts';
import { hashRanges } from '../../lib/bytes/hash-and-compare.ts';
import { readFully, writeFully } from '../../lib/bytes/read-write-fully.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { whole } from '../../lib/bytes/concatenated-source.ts';
import { patchInPlace } from '../../lib/bytes/patched-source.ts';
import { truncated } from '../../lib/bytes/extents.ts';
import { BufferSource, SMALL_FILE, withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/all-settled.ts';
import { detachedName } from './detached.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { FORMATS } from '../formats/registry.ts';
import type { SignableFile } from '../formats/signable-file.ts';
import { describeSigned, keptSigner, signUnverified, verifyOwnSignature } from './sign-program.ts';
import type { FindOptions } from './inside/file-to-sign.ts';
import type { FoundInside } from './inside/lone-container.ts';
import {
  requireOurs,
  requireSomethingToSign,
  type SignArtifactOptions,
  type SignedFile,
  type SignedProgram,
} from './signed-artifact.ts';

/**
 * Signs a program that is not in a zip; the output appears whole and verified, or not at all. The file that is
 * verified is the one that then gets the output's name.
 */
export async function signProgramFile(
  source: ByteSource,
  output: string,
  options: SignArtifactOptions,
): Promise<SignedFile> {
  if (options.pins)
    throw invalid(
      'pinned-entry-missing',
      `${source.name}: zipname pins entries of it, but it is a program, not a zip`,
      { hint: 'pin the file itself: sha256sum FILE' },
    );
  const file = await openToSign(source, options);
  if (file.container && options.inside !== 'ignore') {
    // Loaded only here: for a program that is no container it would take a good part of the time.
    const { withSignedInside } = await import('./inside/lone-container.ts');
    return withSignedInside(file, options, async (repacked, found) => {
      const program = await write(repacked ?? file, output, options);
      if (!repacked) return finished(program, found);
      const { hashed = true } = options;
      const before = { size: source.size, sha256: hashed ? await sha256OfSource(source) : '' };
      return finished({ ...program, before, detachedName: detachedName(file, before.sha256) }, found);
    });
  }
  options.onProgress?.(0, 1);
  const program = await write(file, output, options);
  options.onProgress?.(1, 1);
  return finished(program);
}

/** The error for a file that is neither a zip nor of any format. */
export const notSignable = (name: string): SignpipeError =>
  invalid('not-signable', `${name}: neither a zip nor a file that can be signed`, {
    hint: `give a .zip, or a file of a kind that can be signed: ${FORMATS.map(({ extensions }) => `.${extensions[0]}`).join(', ')} and the like`,
  });

/** Opens a program that is not in a zip, if it is ours and policy permits to sign it. */
export async function openToSign(source: ByteSource, options: FindOptions): Promise<SignableFile> {
  requireOurs(source.name, options);
  const file = await openSignableFile(source);
  const signer = await keptSigner(file, '', options);
  const kept = signer === null ? [] : [{ path: '', ...signer }];
  requireSomethingToSign(1 - kept.length, kept, 1, source.name);
  return file;
}

const finished = (
  program: SignedProgram,
  { signed, ...found }: FoundInside = { signed: [], kept: [], leftAlone: [], unsignedInside: [] },
): SignedFile => ({
  kind: 'program',
  entries: 1,
  signed: [...signed, program],
  ...found,
  output: { ...program.after },
});

const write = (file: SignableFile, output: string, options: SignArtifactOptions): Promise<SignedProgram> =>
  writeAtomically(output, (handle, path) =>
    file.source.size > SMALL_FILE
      ? writeLarge(file, { handle, path }, options)
      : writeSmall(file, handle, options),
  );

/** Writes a small program in one piece, and verifies what is read back. */
async function writeSmall(
  file: SignableFile,
  handle: FileHandle,
  options: SignArtifactOptions,
): Promise<SignedProgram> {
  const result = await signUnverified(file, options);
  const content = await result.content.read(0, result.content.size);
  await writeFully(handle, content, 0);
  const signed = await readBack(handle, content.length, file.source.name);
  const [before, after] = await settleAll([
    sha256OfSource(file.source),
    sha256OfSource(signed),
    verifyOwnSignature(file, signed, result, options),
    handle.sync(),
  ]);
  return describeSigned('', file, result, { before, after });
}

async function readBack(handle: FileHandle, size: number, name: string): Promise<ByteSource> {
  const content = Buffer.allocUnsafe(size);
  if (await readFully(handle, content, 0)) return new BufferSource(content, name);
  throw truncated(name);
}

/**
 * Only for speed: reads a large program twice, by several threads each time: once to copy and hash it, once to verify
 * the result, which is flushed to the disk meanwhile.
 */
async function writeLarge(
  file: SignableFile,
  { handle, path }: { readonly handle: FileHandle; readonly path: string },
  options: SignArtifactOptions,
): Promise<SignedProgram> {
  const { hashed = true } = options;
  const { source } = file;
  const [before, result] = await settleAll([
    copyAndHash(source, handle, hashed),
    signUnverified(file, options),
  ]);
  await patchInPlace(handle, result.content);
  const verify = async (signed: ByteSource): Promise<string> => {
    const [, after] = await settleAll([
      verifyOwnSignature(file, signed, result, options),
      hashed ? sha256OfSource(signed) : '',
      handle.sync(),
    ]);
    return after;
  };
  const after = await withFile(path, verify, source.name);
  return describeSigned('', file, result, { before, after });
}

/** Returns the SHA-256 of the bytes that were copied, in hex: what is signed is what the receipt calls unsigned. */
async function copyAndHash(source: ByteSource, copyTo: FileHandle, hashed: boolean): Promise<string> {
  const { digest } = await hashRanges([whole(source)], { ...(hashed && { algorithm: 'sha256' }), copyTo });
  return digest.toString('hex');
}
