import { proveOnlySignatureAdded } from '../authenticode/only-signature-added.ts';
import { invalid } from '../../lib/errors.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { fileKindOf, openSignableFile } from '../formats/recognize.ts';
import type { FileProof, ProveOptions } from './prove-zip.ts';

export type { FileProof } from './prove-zip.ts';

/**
 * Proves that `signed` is `original` plus signatures and nothing else: for a zip the same entries
 * with the same bytes and headers, but for programs that each got one signature. Throws `invalid`
 * errors that name what differs.
 */
export async function proveFile(original: string, signed: string, options: ProveOptions): Promise<FileProof> {
  return withFile(original, (before) =>
    withFile(signed, async (after) => {
      const name = options.name ?? signed;
      const isZip = (await fileKindOf(before)) === 'zip';
      if (isZip !== ((await fileKindOf(after, name)) === 'zip'))
        throw invalid('not-the-same-kind', `${signed}: one of the two is a zip, the other is not`);
      if (isZip) {
        const { proveZip } = await import('./prove-zip.ts');
        return proveZip(before, after, options);
      }
      await proveOnlySignatureAdded(await openSignableFile(before), await openSignableFile(after));
      return { kind: 'program', entries: 1, signed: [''], digests: new Map(), before: new Map() };
    }),
  );
}
