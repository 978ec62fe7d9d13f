import type { SignableFile } from '../../formats/signable-file.ts';
import type { SignArtifactOptions, SignedArtifact } from '../signed-artifact.ts';
import { Spool } from '../unpacked-programs.ts';
import { Budget, Descent } from './descent.ts';
import type { FileToSign, FindOptions } from './file-to-sign.ts';
import { Search } from './find-inside.ts';
import { FoundSigner } from './sign-inside.ts';

/** What was found, and signed, inside of a container that is not in a zip. */
export type FoundInside = Pick<SignedArtifact, 'signed' | 'kept' | 'leftAlone' | 'unsignedInside'>;

/** Decides what is to be signed inside of a container that is not in a zip and is itself to be signed. */
export async function findInProgram(
  file: SignableFile,
  options: FindOptions,
  spool: Spool,
): Promise<Omit<FoundInside, 'signed'> & { readonly found: FileToSign }> {
  const { source } = file;
  const search = new Search(options, new Descent(new Budget(options.limits, source.size), spool));
  const found = await search.program(file);
  search.requireSignedInside(source.name);
  const { kept, leftAlone, unsignedInside } = search;
  return { found, kept, leftAlone, unsignedInside };
}

/**
 * Signs what is inside of a container. `use` gets the container with that, or null if nothing inside changed, and is to sign
 * it; what it gets is gone when this returns.
 */
export async function withSignedInside<T>(
  file: SignableFile,
  options: SignArtifactOptions,
  use: (repacked: SignableFile | null, inside: FoundInside) => Promise<T>,
): Promise<T> {
  const spool = new Spool(options.scratch);
  try {
    const { found, ...others } = await findInProgram(file, options, spool);
    const signer = new FoundSigner(options, [found]);
    const { programs, file: repacked } = await signer.signInside(found);
    const result = await use(repacked, { signed: programs, ...others });
    signer.progress();
    return result;
  } finally {
    await spool.close();
  }
}
