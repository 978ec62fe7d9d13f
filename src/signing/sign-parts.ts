import { isZip, readArchive, readPartially, type PartialArchive, type Range } from '../archive/read.ts';
import { planRewrite } from '../archive/rewrite.ts';
import { AssembledSource, type Assembly } from '../io/assembly.ts';
import { sha256OfSource, sha256OfStream } from '../io/hash.ts';
import { scan } from '../io/scan.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { requirePinned } from './pins.ts';
import { signOurs } from './sign-entries.ts';
import type { SignedFile, SignFileOptions } from './signed-file.ts';

/** A file that lies elsewhere. */
export interface DistantSource extends ByteSource {
  /** Begins to bring nearer what will be read, behind what it was told of before. */
  fetchAhead(runs: readonly Range[]): void;
}

export interface SignRemotelyOptions extends SignFileOptions {
  /** SHA-256 by path of every entry of ours: there is nothing else to hold what is read against. */
  readonly pins: ReadonlyMap<string, string>;
}

/** What was done to a zip, told by the bytes that are new in it. */
export interface SignedInParts extends Omit<SignedFile, 'output'> {
  /** The signed zip, out of the unsigned one and the new bytes. */
  readonly assembly: Assembly;
  /** SHA-256 of the new bytes. */
  readonly sha256: string;
}

const beginsAsZip = async (source: ByteSource): Promise<boolean> =>
  isZip(await source.read(0, Math.min(source.size, 4)));

/**
 * Signs the programs of ours in a zip without moving the rest of it: reads the directory and those
 * programs, and writes the new bytes to `fresh`. With them, the zip comes out byte for byte as
 * `signFile` would make it. Null when the file is no zip; then, nothing was done.
 */
export async function signRemotely(
  source: DistantSource,
  fresh: string,
  options: SignRemotelyOptions,
): Promise<SignedInParts | null> {
  if (!(await beginsAsZip(source))) return null;
  const archive = await readPartially(source, options.limits, {
    wanted: options.isOurs,
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    prepare: async (ours, turns) => {
      requirePinned(ours, options.pins, source.name);
      for (const ranges of turns) source.fetchAhead(ranges);
    },
  });
  const { meanwhile: _nothing, ...made } = await signParts(archive, fresh, options, () => Promise.resolve());
  return made;
}

/**
 * The same for a zip that is here as a whole, all of which is checked: what does not change need not be
 * written again to know what the signed zip is, nor to deliver it.
 */
export async function signInParts(
  source: ByteSource,
  fresh: string,
  options: SignFileOptions,
): Promise<(SignedInParts & Pick<SignedFile, 'output'>) | null> {
  if (!(await beginsAsZip(source))) return null;
  // On this thread, which has nothing else to do then: another costs 10 MB, and time to start.
  const hash = (assembly: Assembly): Promise<string> =>
    withFile(fresh, (bytes) => sha256OfStream(scan(new AssembledSource(assembly, source, bytes))));
  const archive = await readArchive(source, options.limits);
  const { meanwhile: sha256, ...made } = await signParts(archive, fresh, options, hash);
  return { ...made, output: { size: made.assembly.size, sha256 } };
}

/** With what came of the assembly meanwhile; see `planRewrite`. */
async function signParts<T>(
  archive: PartialArchive,
  fresh: string,
  options: SignFileOptions,
  meanwhile: (assembly: Assembly) => Promise<T>,
): Promise<SignedInParts & { readonly meanwhile: T }> {
  const { made, written } = await signOurs(archive, options, (contents) =>
    planRewrite(archive, contents, fresh, meanwhile),
  );
  const sha256 = await withFile(fresh, sha256OfSource);
  return { ...made, assembly: written.assembly, sha256, meanwhile: written.meanwhile };
}
