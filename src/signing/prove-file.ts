import { isZip } from '../archive/end.ts';
import { HEAD_SIZE } from '../authenticode/image.ts';
import { proveStripped } from '../authenticode/strip-proof.ts';
import { invalid } from '../errors.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import type { FileProof, ProveOptions } from './prove-zip.ts';

export type { FileProof } from './prove-zip.ts';

const isZipSource = async (source: ByteSource): Promise<boolean> =>
  isZip(await source.read(0, Math.min(source.size, HEAD_SIZE)));

/**
 * Proves that `signed` is `original` plus signatures and nothing else: for a zip the same entries
 * with the same bytes and headers, but for programs that each got one signature. Throws `invalid`
 * errors that name what differs.
 */
export async function proveFile(original: string, signed: string, options: ProveOptions): Promise<FileProof> {
  return withFile(original, (before) =>
    withFile(signed, async (after) => {
      const [zipBefore, zipAfter] = [await isZipSource(before), await isZipSource(after)];
      if (zipBefore !== zipAfter)
        throw invalid('not-the-same-kind', `${signed}: one of the two is a zip, the other is not`);
      if (zipBefore) {
        const { proveZip } = await import('./prove-zip.ts');
        return proveZip(before, after, options);
      }
      await proveStripped(before, after);
      return { kind: 'program', entries: 1, signed: [''], digests: new Map(), before: new Map() };
    }),
  );
}
