import { rewriteArchive } from '../../lib/zip/rewrite-zip.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { readZip } from '../formats/packages.ts';
import { signOurs } from './sign-zip-entries.ts';
import type { SignedFile, SignFileOptions } from './sign-result.ts';

/** Signs the programs of ours in a zip; the output appears whole, or not at all. */
export async function signZip(
  source: ByteSource,
  output: string,
  options: SignFileOptions,
): Promise<SignedFile> {
  const archive = await readZip(source, options.limits);
  const { made } = await signOurs(archive, options, (contents) => rewriteArchive(archive, contents, output));
  const written = await withFile(output, async (file) => ({
    size: file.size,
    sha256: await sha256OfSource(file),
  }));
  return { ...made, output: written };
}
