import { compareArchives } from '../../lib/zip/compare-zips.ts';
import { type Archive, type ArchiveEntry, type ArchiveLimits } from '../../lib/zip/read-zip.ts';
import { proveOnlySignatureAdded } from '../authenticode/only-signature-added.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { readZip } from '../formats/packages.ts';
import { openSignableFile } from '../formats/recognize.ts';
import { Spool, type Spooled } from './spool.ts';

export interface ProveOptions {
  readonly limits: ArchiveLimits;
  readonly scratch: string;
  /** What the signed file is called, if it lies under another name for now. */
  readonly name?: string | undefined;
}

/** What the proof covers. */
export interface FileProof {
  readonly kind: 'zip' | 'program';
  /** Entries, or 1. */
  readonly entries: number;
  /** Paths of the programs that got a signature, exactly one each; a lone program's is empty. */
  readonly signed: readonly string[];
  /** SHA-256 of each of those as they are now, by path, in lower-case hex; of a zip only. */
  readonly digests: ReadonlyMap<string, string>;
  /** SHA-256 of each of those programs in the original, by path; empty for a lone program. */
  readonly before: ReadonlyMap<string, string>;
}

const unpacked = async (archive: Archive, entry: ArchiveEntry, spool: Spool): Promise<Spooled> =>
  spool.take(archive, entry);

/** Proves that a zip is another one but for the signatures of its programs. */
export async function proveZip(
  original: ByteSource,
  signed: ByteSource,
  options: ProveOptions,
): Promise<FileProof> {
  const before = await readZip(original, options.limits);
  const after = await readZip(signed, options.limits);
  const { changed } = await compareArchives(before, after);
  const digests = new Map<string, string>();
  const originals = new Map<string, string>();
  for (const [entry, made] of changed) {
    const spool = new Spool(options.scratch);
    try {
      const now = await unpacked(after, made, spool);
      const then = await unpacked(before, entry, spool);
      await proveOnlySignatureAdded(await openSignableFile(then.source), await openSignableFile(now.source));
      digests.set(entry.path, now.sha256);
      originals.set(entry.path, then.sha256);
    } finally {
      await spool.close();
    }
  }
  return {
    kind: 'zip',
    entries: after.entries.length,
    signed: [...digests.keys()],
    digests,
    before: originals,
  };
}
