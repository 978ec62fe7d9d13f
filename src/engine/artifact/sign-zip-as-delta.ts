import { isZipSource, type PartialArchive } from '../../lib/zip/read-zip.ts';
import { planRewrite, type FreshFile } from '../../lib/zip/rewrite-zip.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { Delta } from '../../lib/bytes/delta.ts';
import { PatchedSource } from '../../lib/bytes/patched-source.ts';
import { sha256OfSource, sha256OfStream } from '../../lib/bytes/hash.ts';
import { scan } from '../../lib/bytes/read-chunks.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { isOurs } from './globs.ts';
import { readZip, readZipPartially } from '../formats/packages.ts';
import { requirePinned } from './pinned-digests.ts';
import { signOurs } from './sign-zip-entries.ts';
import type { SignedFile, SignFileOptions } from './sign-result.ts';

/** A file that lies elsewhere. */
export interface DistantSource extends ByteSource {
  /** Begins to bring nearer what will be read, behind what it was told of before. */
  prefetch(runs: readonly ByteRange[]): void;
}

export interface SignRemotelyOptions extends SignFileOptions {
  /** SHA-256 by path of every entry of ours: there is nothing else to hold what is read against. */
  readonly pins: ReadonlyMap<string, string>;
}

/** What was done to a zip, told by the bytes that are new in it. */
export interface SignedInParts extends Omit<SignedFile, 'output'> {
  /** The signed zip, out of the unsigned one and the new bytes. */
  readonly assembly: Delta;
  /** SHA-256 of the new bytes. */
  readonly sha256: string;
  /** The new bytes where they are in memory; null where they are in a file. */
  readonly fresh: Buffer | null;
}

/** So many new bytes of a zip that lies elsewhere are kept in memory. */
export const FRESH_IN_MEMORY = 32 * 1024 * 1024;

/**
 * Signs the programs of ours in a zip without moving the rest of it: reads the directory and those
 * programs, and gives the new bytes, or writes them to `fresh` where they are many. With them, the zip comes out
 * byte for byte as `signFile` would make it. Null when the file is no zip; then, nothing was done.
 */
export async function signRemotely(
  source: DistantSource,
  fresh: string,
  options: SignRemotelyOptions,
): Promise<SignedInParts | null> {
  if (!(await isZipSource(source))) return null;
  const archive = await readZipPartially(source, options.limits, {
    wanted: (entry) => isOurs(entry, options.isOurs, source.name),
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    prepare: async (ours, turns) => {
      requirePinned(ours, options.pins, source.name);
      for (const ranges of turns) source.prefetch(ranges);
    },
  });
  const file = { path: fresh, inMemory: FRESH_IN_MEMORY };
  const { meanwhile: _nothing, ...made } = await signParts(archive, file, options, () => Promise.resolve());
  return made;
}

/**
 * The same for a zip that is here as a whole, all of which is checked: what does not change need not be
 * written again to know what the signed zip is, nor to deliver it. The new bytes are in the file `fresh`.
 */
export async function signInParts(
  source: ByteSource,
  fresh: string,
  options: SignFileOptions,
): Promise<(SignedInParts & Pick<SignedFile, 'output'>) | null> {
  if (!(await isZipSource(source))) return null;
  // On this thread, which has nothing else to do then: another costs 10 MB, and time to start.
  const hash = (assembly: Delta, bytes: ByteSource): Promise<string> =>
    sha256OfStream(scan(new PatchedSource(source, assembly, bytes)));
  const archive = await readZip(source, options.limits);
  const { meanwhile: sha256, ...made } = await signParts(archive, { path: fresh }, options, hash);
  return { ...made, output: { size: made.assembly.size, sha256 } };
}

/** With what came of the assembly meanwhile; see `planRewrite`. */
async function signParts<T>(
  archive: PartialArchive,
  file: FreshFile,
  options: SignFileOptions,
  meanwhile: (assembly: Delta, fresh: ByteSource) => Promise<T>,
): Promise<SignedInParts & { readonly meanwhile: T }> {
  const { made, written } = await signOurs(archive, options, (contents) =>
    planRewrite(archive, contents, file, async (assembly, fresh) => ({
      sha256: await sha256OfSource(fresh),
      told: await meanwhile(assembly, fresh),
    })),
  );
  const { sha256, told } = written.meanwhile;
  return { ...made, assembly: written.assembly, fresh: written.fresh, sha256, meanwhile: told };
}
