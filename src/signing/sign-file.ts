import { readArchive, isZip } from '../archive/read.ts';
import { rewriteArchive } from '../archive/rewrite.ts';
import { HEAD_SIZE, isSignable } from '../authenticode/image.ts';
import { sha256OfSource } from '../io/hash.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { invalid } from '../errors.ts';
import {
  replacementsOf,
  signOurs,
  withoutContent,
  type SignedFile,
  type SignFileOptions,
} from './sign-entries.ts';
import { signLone } from './sign-lone.ts';
import { Spool } from './spool.ts';

async function signZip(
  source: ByteSource,
  output: string,
  spool: Spool,
  options: SignFileOptions,
): Promise<SignedFile> {
  const archive = await readArchive(source, options.limits);
  const programs = await signOurs(archive, spool, options);
  await rewriteArchive(archive, replacementsOf(programs), output);
  return {
    ...programs,
    kind: 'zip',
    signed: programs.signed.map(withoutContent),
    output: await withFile(output, async (file) => ({ size: file.size, sha256: await sha256OfSource(file) })),
  };
}

/**
 * Signs a program, or the programs of ours in a zip, recognised by content and not by name. The
 * input is never changed; the output appears whole, verified and strip-proof, or not at all.
 */
export async function signFile(
  input: string,
  output: string,
  options: SignFileOptions,
  name = input,
): Promise<SignedFile> {
  return withFile(
    input,
    async (source) => {
      const head = await source.read(0, Math.min(source.size, HEAD_SIZE));
      const spool = new Spool(options.scratch);
      try {
        if (isZip(head)) return await signZip(source, output, spool, options);
        if (isSignable(head)) return await signLone(source, output, options);
      } finally {
        await spool.close();
      }
      throw invalid('not-signable', `${name}: neither a zip nor a Windows program`, {
        hint: 'send a .zip, or a program such as .exe or .dll',
      });
    },
    name,
  );
}
