import { compareArchives } from '../archive/compare.ts';
import { isZip, readArchive, type Archive, type ArchiveEntry, type ArchiveLimits } from '../archive/read.ts';
import { HEAD_SIZE } from '../authenticode/image.ts';
import { proveStripped } from '../authenticode/strip-proof.ts';
import { invalid } from '../errors.ts';
import { withFile, type ByteSource } from '../io/source.ts';
import { Spool, type Spooled } from './spool.ts';

export interface ProveOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
}

/** What the proof covers. */
export interface FileProof {
  readonly kind: 'zip' | 'program';
  /** Entries, or 1. */
  readonly entries: number;
  /** Paths of the programs that got a signature; a lone program's is empty. */
  readonly signed: readonly string[];
  /** SHA-256 of each of those as they are now, by path, in lower-case hex; of a zip only. */
  readonly digests: ReadonlyMap<string, string>;
}

const unpacked = async (archive: Archive, entry: ArchiveEntry, spool: Spool): Promise<Spooled> =>
  spool.take(await archive.open(entry), entry.size, `${archive.source.name}!/${entry.path}`);

async function proveZip(original: ByteSource, signed: ByteSource, options: ProveOptions): Promise<FileProof> {
  const before = await readArchive(original, options.limits);
  const after = await readArchive(signed, options.limits);
  const { changed } = await compareArchives(before, after);
  const digests = new Map<string, string>();
  for (const [entry, made] of changed) {
    const spool = new Spool(options.scratch);
    try {
      const now = await unpacked(after, made, spool);
      await proveStripped((await unpacked(before, entry, spool)).source, now.source);
      digests.set(entry.path, now.sha256);
    } finally {
      await spool.close();
    }
  }
  return { kind: 'zip', entries: after.entries.length, signed: [...digests.keys()], digests };
}

const isZipSource = async (source: ByteSource): Promise<boolean> =>
  isZip(await source.read(0, Math.min(source.size, HEAD_SIZE)));

/**
 * Proves that `signed` is `original` plus signatures and nothing else: for a zip the same entries
 * with the same bytes and headers, but for programs that each got one signature. Throws `invalid`
 * errors that name what differs.
 */
export async function proveFile(original: string, signed: string, options: ProveOptions): Promise<FileProof> {
  return withFile(original, (before) =>
    withFile(signed, async (after) => {
      const [zipBefore, zipAfter] = [await isZipSource(before), await isZipSource(after)];
      if (zipBefore !== zipAfter)
        throw invalid('not-the-same-kind', `${signed}: one of the two is a zip, the other is not`);
      if (zipBefore) return proveZip(before, after, options);
      await proveStripped(before, after);
      return { kind: 'program', entries: 1, signed: [''], digests: new Map() };
    }),
  );
}
