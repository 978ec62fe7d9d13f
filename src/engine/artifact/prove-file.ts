import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { fileKindOf } from '../formats/recognize.ts';
import type { ProvedProgram } from './inside/prove-inside.ts';
import { areZips } from './inside/same-kind.ts';
import type { ProveOptions } from './prove-zip.ts';

/** The programs that got a signature, exactly one each; of a program that is not in a zip, itself comes last, without digests. */
export interface FileProof {
  readonly kind: 'zip' | 'program';
  readonly signed: readonly (Pick<ProvedProgram, 'path' | 'inside'> & Partial<ProvedProgram>)[];
}

/**
 * Proves that `signed` is `original` plus signatures and nothing else: in a zip the same entries with the same bytes
 * and headers, except for programs that each got one signature, and for containers that were packed again with such
 * programs. Throws `invalid` errors that name what differs.
 */
export async function proveFile(original: string, signed: string, options: ProveOptions): Promise<FileProof> {
  const prove = async (before: ByteSource, after: ByteSource): Promise<FileProof> => {
    const isZip = await areZips({ before, after }, fileKindOf);
    // Loaded only here: `verify` without the original needs none of it.
    const { budgetsFor, proveZip, withProof } = await import('./prove-zip.ts');
    if (isZip) return { kind: 'zip', signed: await proveZip(before, after, options) };
    const { limits, scratch } = options;
    const inside = await withProof(budgetsFor(before, after, limits), scratch, (proof) =>
      proof.program({ before, after }, { path: '' }),
    );
    return { kind: 'program', signed: [...inside, { path: '' }] };
  };
  return withFile(original, (before) => withFile(signed, (after) => prove(before, after), options.name));
}
