import { printable } from '../../../lib/printable.ts';
import type { CompoundEntry, CompoundFile, StorageEntry } from '../../../lib/compound-file/compound-file.ts';
import { unusedBytes } from '../../../lib/compound-file/unused-bytes.ts';
import { firstDifference } from '../../../lib/bytes/hash-and-compare.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { contentRanges, coveredChildren, entryMetadata } from './msi-digest.ts';
import { decodeStreamName } from './stream-names.ts';

/**
 * Requires that `after` equals `before` except for signatures: the same storages and streams with the same content, CLSIDs,
 * state bits and times, and no bytes in unused places that were not there before.
 *
 * | code                   | meaning                                                        |
 * | ---------------------- | -------------------------------------------------------------- |
 * | `strip-body-differs`   | something differs; the message names the stream                |
 * | `strip-unused-differs` | something was written where nothing belongs                    |
 */
export async function requireSameStreams(before: CompoundFile, after: CompoundFile): Promise<void> {
  requireSameTree(before.root, after.root, { before, after, path: '' });
  await requireSameBytes(before, after);
  await requireNothingAdded(before, after);
}

interface Comparison {
  readonly before: CompoundFile;
  readonly after: CompoundFile;
  /** Of the storage, with `/` at its end; empty for the root. */
  readonly path: string;
}

const differs = ({ before, after }: Comparison, what: string): SignpipeError =>
  invalid(
    'strip-body-differs',
    `${after.source.name}: it is not ${before.source.name} plus a signature: ${what}`,
  );

const label = ({ path }: Pick<Comparison, 'path'>, { kind, name }: CompoundEntry): string =>
  `${kind} ${printable(JSON.stringify(path + decodeStreamName(name)))}`;

function requireSameTree(older: StorageEntry, newer: StorageEntry, comparison: Comparison): void {
  const { path } = comparison;
  const isRoot = path === '';
  if (!entryMetadata(older, isRoot).equals(entryMetadata(newer, isRoot)))
    throw differs(comparison, `name, CLSID, state or times of ${isRoot ? 'the root' : path} changed`);
  const [olds, news] = [coveredChildren(older), coveredChildren(newer)];
  const known = new Set(news.map(({ name }) => name));
  const gone = olds.find(({ name }) => !known.has(name));
  if (gone) throw differs(comparison, `${label(comparison, gone)} is gone`);
  const former = new Map(olds.map((each) => [each.name, each]));
  for (const each of news) {
    const old = former.get(each.name);
    if (!old) throw differs(comparison, `${label(comparison, each)} is new`);
    requireSameEntry(old, each, comparison);
  }
}

function requireSameEntry(old: CompoundEntry, each: CompoundEntry, comparison: Comparison): void {
  const what = label(comparison, each);
  if (old.kind === 'storage' && each.kind === 'storage') {
    requireSameTree(old, each, { ...comparison, path: `${comparison.path}${decodeStreamName(each.name)}/` });
    return;
  }
  if (old.kind !== 'stream' || each.kind !== 'stream') throw differs(comparison, `${what} was a ${old.kind}`);
  if (old.size !== each.size)
    throw differs(comparison, `${what} had ${old.size} bytes, and has ${each.size}`);
  if (!entryMetadata(old).equals(entryMetadata(each)))
    throw differs(comparison, `state or times of ${what} changed`);
}

async function requireSameBytes(before: CompoundFile, after: CompoundFile): Promise<void> {
  const position = await firstDifference(contentRanges(before), contentRanges(after));
  if (position === undefined) return;
  const comparison = { before, after, path: '' };
  let rest = position;
  for (const { path, entry, size } of coveredStreams(after.root, '')) {
    if (rest < size) throw differs(comparison, `byte ${rest} of ${label({ path }, entry)} changed`);
    rest -= size;
  }
}

interface CoveredPart {
  readonly path: string;
  readonly entry: CompoundEntry;
  readonly size: number;
}

/** What `contentRanges` lists, with names. */
function* coveredStreams(storage: StorageEntry, path: string): Generator<CoveredPart> {
  for (const entry of coveredChildren(storage))
    if (entry.kind === 'storage') yield* coveredStreams(entry, `${path}${decodeStreamName(entry.name)}/`);
    else yield { path, entry, size: entry.size };
  yield { path, entry: storage, size: storage.clsid.length };
}

/** Whatever lies in unused places must have been there before, at the same offset. */
async function requireNothingAdded({ source }: CompoundFile, after: CompoundFile): Promise<void> {
  for await (const { part, at, bytes } of unusedBytes(after)) {
    const old = await source.read(
      Math.min(at, source.size),
      Math.max(0, Math.min(bytes.length, source.size - at)),
    );
    const added = bytes.findIndex((byte, index) => byte !== 0 && byte !== old[index]);
    if (added < 0) continue;
    throw invalid(
      'strip-unused-differs',
      `${after.source.name}: byte ${at + added} (${part}), which means nothing, holds something that ${source.name} does not have there`,
    );
  }
}
