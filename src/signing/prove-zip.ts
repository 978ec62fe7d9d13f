import { compareArchives } from '../archive/compare.ts';
import { readArchive, type Archive, type ArchiveEntry } from '../archive/read.ts';
import { proveStripped } from '../authenticode/strip-proof.ts';
import type { ByteSource } from '../io/source.ts';
import type { FileProof, ProveOptions } from './prove-file.ts';
import { Spool, type Spooled } from './spool.ts';

const unpacked = async (archive: Archive, entry: ArchiveEntry, spool: Spool): Promise<Spooled> =>
  spool.take(archive, entry);

/** Proves that a zip is another one but for the signatures of its programs. */
export async function proveZip(
  original: ByteSource,
  signed: ByteSource,
  options: ProveOptions,
): Promise<FileProof> {
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
