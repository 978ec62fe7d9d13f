import { inMemoryIfSmall, withFile } from '../../lib/bytes/byte-source.ts';
import { fileKindOf } from '../formats/recognize.ts';
import { notSignable, signProgramFile } from './sign-program-file.ts';
import type { SignArtifactOptions, SignedFile } from './signed-artifact.ts';

/**
 * Signs a program, or our programs in a zip, recognised by content; names decide which programs are ours. The input
 * is never changed; the output appears whole, verified and with only signatures added, or not at all. `name`
 * is for messages.
 */
export function signFile(
  input: string,
  output: string,
  options: SignArtifactOptions,
  name = input,
): Promise<SignedFile> {
  return withFile(
    input,
    async (file) => {
      const source = await inMemoryIfSmall(file);
      const kind = await fileKindOf(source);
      if (kind === 'zip') {
        // Loaded only here: for a program it would take a good part of the time.
        const { signZip } = await import('./sign-zip.ts');
        return signZip(source, output, options);
      }
      if (kind === 'program') return signProgramFile(source, output, options);
      throw notSignable(name);
    },
    name,
  );
}
