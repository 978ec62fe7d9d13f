import type { ArchiveLimits } from '../../lib/zip/limits.ts';
import type { PinnedEntry } from '../../protocol/control/zipname.ts';
import { usage } from '../../lib/errors.ts';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import { withFile } from '../../lib/bytes/byte-source.ts';
import { readZip } from '../../engine/formats/packages.ts';
import { recognize } from '../../engine/formats/recognize.ts';
import { isOurs, type PathFilter } from '../../engine/artifact/globs.ts';

/** Which entries of a zip are to be pinned one by one. */
export interface EntryPins {
  readonly isMeant: PathFilter;
  readonly limits: ArchiveLimits;
}

/** Finds the entries of a zip to pin, each with the SHA-256 of its uncompressed bytes. */
export async function pinEntries(path: string, { isMeant, limits }: EntryPins): Promise<PinnedEntry[]> {
  return withFile(path, async (source) => {
    if ((await recognize(source)) !== 'zip')
      throw usage('sparse-not-a-zip', `${path}: only the programs of a zip can be pinned one by one`, {
        hint: 'leave out --sparse',
      });
    const archive = await readZip(source, limits);
    const pinned: PinnedEntry[] = [];
    for (const entry of archive.entries)
      if (!entry.directory && isOurs(entry, isMeant, path))
        pinned.push({ path: entry.path, sha256: await sha256OfStream(await archive.open(entry)) });
    if (pinned.length > 0) return pinned;
    throw usage('sparse-nothing-to-pin', `${path}: nothing in it matches the patterns`, {
      hint: 'give the patterns that signing.files has on the signer',
    });
  });
}
