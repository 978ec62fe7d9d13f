import { invalid } from '../../lib/errors.ts';
import { inMemoryIfSmall, withFile } from '../../lib/bytes/byte-source.ts';
import { fileKindOf } from '../formats/recognize.ts';
import type { SignedFile, SignedUnhashed, SignArtifactOptions, UnhashedOptions } from './sign-result.ts';
import { signLone } from './sign-program-file.ts';

/**
 * Signs a program, or the programs of ours in a zip, recognised by content; which programs are ours, their
 * names decide. The input is never changed; the output appears whole, verified and strip-proof, or not at all.
 */
export async function signFile(
  input: string,
  output: string,
  options: UnhashedOptions,
  name?: string,
): Promise<SignedUnhashed>;
export async function signFile(
  input: string,
  output: string,
  options: SignArtifactOptions,
  name?: string,
): Promise<SignedFile>;
export async function signFile(
  input: string,
  output: string,
  options: SignArtifactOptions | UnhashedOptions,
  name = input,
): Promise<SignedFile> {
  return withFile(
    input,
    async (file) => {
      const source = await inMemoryIfSmall(file);
      const kind = await fileKindOf(source);
      if (kind === 'zip') {
        // Loaded only here: for a lone program it would be a good part of the time.
        const { signZip } = await import('./sign-zip.ts');
        return signZip(source, output, options);
      }
      if (kind === 'program') return signLone(source, output, options, !('unhashed' in options));
      throw invalid('not-signable', `${name}: neither a zip nor a Windows program`, {
        hint: 'give a .zip, or a program such as .exe or .dll',
      });
    },
    name,
  );
}
