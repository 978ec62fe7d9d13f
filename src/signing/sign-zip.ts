import { readArchive } from '../archive/read.ts';
import { rewriteArchive } from '../archive/rewrite.ts';
import { sha256OfSource } from '../io/hash.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { replacementsOf, signOurs } from './sign-entries.ts';
import { withoutContent, type SignedFile, type SignFileOptions } from './signed-file.ts';
import { Spool } from './spool.ts';

/** Signs the programs of ours in a zip; the output appears whole, or not at all. */
export async function signZip(
  source: ByteSource,
  output: string,
  options: SignFileOptions,
): Promise<SignedFile> {
  const spool = new Spool(options.scratch);
  try {
    const archive = await readArchive(source, options.limits);
    const programs = await signOurs(archive, spool, options);
    await rewriteArchive(archive, replacementsOf(programs), output);
    return {
      ...programs,
      kind: 'zip',
      signed: programs.signed.map(withoutContent),
      output: await withFile(output, async (file) => ({
        size: file.size,
        sha256: await sha256OfSource(file),
      })),
    };
  } finally {
    await spool.close();
  }
}
