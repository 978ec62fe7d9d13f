import { proveOnlySignatureAdded } from '../authenticode/only-signature-added.ts';
import { invalid } from '../../lib/errors.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { fileKindOf, openSignableFile } from '../formats/recognize.ts';
import type { ProvedProgram, ProveOptions } from './prove-zip.ts';

/** The programs that got a signature, exactly one each. A program that is not in a zip has an empty path. */
export type FileProof =
  | { readonly kind: 'zip'; readonly signed: readonly ProvedProgram[] }
  | { readonly kind: 'program'; readonly signed: readonly [{ readonly path: '' }] };

/**
 * Proves that `signed` is `original` plus signatures and nothing else: in a zip the same entries with the same bytes
 * and headers, except for programs that each got one signature. Throws `invalid` errors that name what differs.
 */
export async function proveFile(original: string, signed: string, options: ProveOptions): Promise<FileProof> {
  const prove = async (before: ByteSource, after: ByteSource): Promise<FileProof> => {
    const isZip = (await fileKindOf(before)) === 'zip';
    if (isZip !== ((await fileKindOf(after)) === 'zip'))
      throw invalid('not-the-same-kind', `${after.name}: one of the two is a zip, the other is not`);
    if (isZip) {
      const { proveZip } = await import('./prove-zip.ts');
      return { kind: 'zip', signed: await proveZip(before, after, options) };
    }
    await proveOnlySignatureAdded(await openSignableFile(before), await openSignableFile(after));
    return { kind: 'program', signed: [{ path: '' }] };
  };
  return withFile(original, (before) => withFile(signed, (after) => prove(before, after), options.name));
}
