import type { PartialArchive } from '../../lib/zip/read-zip.ts';
import { planRewrite, rewriteZip, type NewBytesFile } from '../../lib/zip/rewrite-zip.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { Delta } from '../../lib/bytes/delta.ts';
import { PatchedSource } from '../../lib/bytes/patched-source.ts';
import { sha256OfSource, sha256OfStream } from '../../lib/bytes/hash.ts';
import { readTransientChunks } from '../../lib/bytes/read-chunks.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { readZip, readZipPartially } from '../formats/packages.ts';
import { recognize } from '../formats/recognize.ts';
import { requirePinned } from './pinned-digests.ts';
import { isToRead, signEntries } from './sign-zip-entries.ts';
import type { SignArtifactOptions, SignedArtifact, SignedFile } from './signed-artifact.ts';

/** A file that is not on this machine. */
export interface RemoteSource extends ByteSource {
  /** Begins to fetch ranges that will be read, after those of earlier calls. */
  prefetch(ranges: readonly ByteRange[]): void;
}

/** A signed zip as a delta to the unsigned one. */
export interface SignedDelta extends SignedArtifact {
  readonly delta: Delta;
  /** SHA-256 of the new bytes, lower-case hex. */
  readonly sha256: string;
  /** The new bytes, if they are in memory; null if they are in their file. */
  readonly newBytes: Buffer | null;
}

/** How many new bytes of a remote zip are kept in memory. */
export const NEW_BYTES_IN_MEMORY = 32 * 1024 * 1024;

/** Signs our programs in a zip; the output appears whole, or not at all. */
export async function signZip(
  source: ByteSource,
  output: string,
  options: SignArtifactOptions,
): Promise<SignedFile> {
  const archive = await readZip(source, options.limits);
  const { artifact, used } = await signEntries(archive, options, (contents) =>
    rewriteZip(archive, contents, output),
  );
  return { ...artifact, output: used };
}

/**
 * Signs our programs in a zip that is here as a whole, all of which is checked. What does not change need not be
 * written again to hash the signed zip, nor to deliver it. The new bytes are in the file `path`. Returns null,
 * having done nothing, if the file is not a zip.
 */
export async function signZipAsDelta(
  source: ByteSource,
  path: string,
  options: SignArtifactOptions,
): Promise<(SignedDelta & Pick<SignedFile, 'output'>) | null> {
  if ((await recognize(source)) !== 'zip') return null;
  const archive = await readZip(source, options.limits);
  // On this thread, which has nothing else to do then: another costs 10 MB, and time to start.
  const hash = (delta: Delta, newBytes: ByteSource): Promise<string> =>
    sha256OfStream(readTransientChunks(new PatchedSource(source, delta, newBytes)));
  const { signed, used } = await planSigned(archive, { path }, options, hash);
  return { ...signed, output: { size: signed.delta.size, sha256: used } };
}

/**
 * Signs our programs in a zip without moving the rest of it: reads the directory and those programs. The new bytes
 * are returned, or are in the file `path` if they are many. The delta gives the zip that `signZip` would write,
 * byte for byte. `options.pins` must name every program of ours: nothing else says what its bytes should be.
 * Returns null, having done nothing, if the file is not a zip.
 */
export async function signRemoteZip(
  source: RemoteSource,
  path: string,
  options: SignArtifactOptions & { readonly pins: ReadonlyMap<string, string> },
): Promise<SignedDelta | null> {
  if ((await recognize(source)) !== 'zip') return null;
  const archive = await readZipPartially(source, options.limits, {
    wanted: (entry) => isToRead(entry, options, source.name),
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    prepare: async (ours, ranges) => {
      requirePinned(ours, options.pins, source.name);
      for (const each of ranges) source.prefetch(each);
    },
  });
  const target = { path, inMemory: NEW_BYTES_IN_MEMORY };
  return (await planSigned(archive, target, options, () => Promise.resolve())).signed;
}

/** `use` is called as `planRewrite` says. */
async function planSigned<T>(
  archive: PartialArchive,
  target: NewBytesFile,
  options: SignArtifactOptions,
  use: (delta: Delta, newBytes: ByteSource) => Promise<T>,
): Promise<{ readonly signed: SignedDelta; readonly used: T }> {
  const { artifact, used: plan } = await signEntries(archive, options, (contents) =>
    planRewrite(archive, contents, target, async (delta, newBytes) => ({
      sha256: await sha256OfSource(newBytes),
      used: await use(delta, newBytes),
    })),
  );
  const { delta, newBytes, used } = plan;
  return { signed: { ...artifact, delta, newBytes, sha256: used.sha256 }, used: used.used };
}
