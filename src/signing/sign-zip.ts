import { rewriteArchive } from '../archive/rewrite.ts';
import { sha256OfSource } from '../io/hash.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { readZip } from './packages.ts';
import { signOurs } from './sign-entries.ts';
import type { SignedFile, SignFileOptions } from './signed-file.ts';

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
