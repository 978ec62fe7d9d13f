import { withFile, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { readZip } from '../formats/packages.ts';
import { fileKindOf } from '../formats/recognize.ts';
import type { FileToSign, FindOptions } from './inside/file-to-sign.ts';
import { findInProgram } from './inside/lone-container.ts';
import type { Place } from './inside/place.ts';
import { notSignable, openToSign } from './sign-program-file.ts';
import { findInZip } from './sign-zip-entries.ts';
import type { SignedArtifact } from './signed-artifact.ts';
import { Spool } from './unpacked-programs.ts';

/** One thing that signing would do to a file in an artifact, or to the artifact itself. */
export interface PlannedStep extends Place {
  /** `sign`: it gets a signature; `pack`: a zip, packed again since files in it are signed. */
  readonly action: 'sign' | 'pack';
  /** The name of its format; `zip` for one that is packed again. */
  readonly format: string;
  /** Its size now, in bytes. */
  readonly size: number;
}

/** What signing would do to a file: what `signFile` returns, without what is only known once it is signed. */
export interface FilePlan extends Omit<SignedArtifact, 'signed'> {
  /** In the order in which they are done for each entry: what lies inside of a file comes before it. */
  readonly steps: readonly PlannedStep[];
}

/** The steps for some files, innermost first. */
const stepsFor = (files: readonly FileToSign[]): PlannedStep[] =>
  files.flatMap(({ path, inside, file, source, members }) => [
    ...stepsFor(members),
    {
      path,
      ...(inside ? { inside } : {}),
      action: file ? ('sign' as const) : ('pack' as const),
      format: file?.format ?? 'zip',
      size: source.size,
    },
  ]);

async function planSource(source: ByteSource, options: FindOptions, spool: Spool): Promise<FilePlan> {
  const kind = await fileKindOf(source);
  if (kind === 'zip') {
    const archive = await readZip(source, options.limits);
    const { files, ...others } = await findInZip(archive, options, spool);
    return { kind, ...others, steps: stepsFor(files) };
  }
  if (kind === null) throw notSignable(source.name);
  const { found, ...others } = await findInProgram(await openToSign(source, options), options, spool);
  return { kind, entries: 1, ...others, steps: stepsFor([found]) };
}

/**
 * Decides what `signFile` would do with the same options, by the same walk, and does nothing: no key is needed. Throws
 * whatever would refuse the file before its first signature. `name` is for messages.
 */
export function planFile(input: string, options: FindOptions, name = input): Promise<FilePlan> {
  return withFile(
    input,
    async (source) => {
      const spool = new Spool(options.scratch);
      try {
        return await planSource(source, options, spool);
      } finally {
        await spool.close();
      }
    },
    name,
  );
}
