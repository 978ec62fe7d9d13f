import { normalPath } from '../../lib/zip/entry-paths.ts';
import { type ArchiveEntry, type PartialArchive } from '../../lib/zip/read-zip.ts';
import { planRewrite, type NewContent, type RewritePlan } from '../../lib/zip/rewrite-zip.ts';
import { invalid } from '../../lib/errors.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import { attachTo, type AttachOptions, type DetachedSignature } from './attach-file.ts';
import { readZipPartially } from '../formats/packages.ts';
import { FRESH_IN_MEMORY, type DistantSource } from './sign-zip-as-delta.ts';
import { Spool } from './spool.ts';

/**
 * Puts detached signatures into the programs of a zip that lies elsewhere, and gives the new bytes with their
 * SHA-256: what `signRemotely` gave when the signatures were made, as long as the same zlib packs them. Many of
 * them go into the file `fresh`. Throws as `attachToFile` does.
 */
export async function attachRemotely(
  source: DistantSource,
  wanted: readonly DetachedSignature[],
  fresh: string,
  options: AttachOptions,
): Promise<RewritePlan<string>> {
  const paths = new Set(wanted.map(({ path }) => normalPath(path)));
  const archive = await readZipPartially(source, options.limits, {
    wanted: ({ path }) => paths.has(path),
    // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
    prepare: async (_entries, turns) => {
      for (const ranges of turns) source.prefetch(ranges);
    },
  });
  const spool = new Spool(options.scratch);
  try {
    const contents = new Map<string, NewContent>();
    for (const each of wanted) {
      const entry = entryOf(archive, each.path);
      contents.set(entry.path, await attachTo(await spool.take(archive, entry), each));
    }
    const file = { path: fresh, inMemory: FRESH_IN_MEMORY };
    return await planRewrite(archive, contents, file, (_assembly, bytes) => sha256OfSource(bytes));
  } finally {
    await spool.close();
  }
}

function entryOf({ located, source }: PartialArchive, path: string): ArchiveEntry {
  const entry = located.find((each) => each.path === normalPath(path));
  if (entry) return entry;
  throw invalid('rebuild-differs', `${source.name}: "${path}", which was signed, is not in it`);
}
