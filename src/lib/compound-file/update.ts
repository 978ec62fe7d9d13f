import type { ByteSource } from '../bytes/byte-source.ts';
import type { PatchedSource } from '../bytes/patched-source.ts';
import type { CompoundFile, StorageEntry, StreamEntry } from './compound-file.ts';
import { EditedDirectory } from './edit/edited-directory.ts';
import { EditedMiniStream } from './edit/edited-mini-stream.ts';
import { EditedSectors } from './edit/edited-sectors.ts';
import { FileChanges } from './edit/file-changes.ts';
import { fault } from './faults.ts';
import { MINI_CUTOFF, SECTOR } from './header.ts';

/** The largest stream of version 3 (MS-CFB section 2.6.3). */
const MAX_STREAM_V3 = 0x80000000;

/** What to change in a compound file. */
export interface CompoundChanges {
  /** Streams to remove, in the order in which they were added. */
  readonly remove?: readonly StreamEntry[];
  /** Streams to add or to give new content, in this order. An entry that is there keeps its times. */
  readonly write?: readonly StreamContent[];
  /** The root's modification time, 8 bytes (FILETIME); stays if it is left out. */
  readonly modified?: Buffer | undefined;
}

/** New content of a stream. */
export interface StreamContent {
  readonly name: string;
  /** Read when the result is read; if it has fewer than 4096 bytes, at once. */
  readonly content: ByteSource;
}

/**
 * A compound file with changes to the streams of its root, made in place as ole32 does it: a new stream takes the lowest
 * unused directory entry and the lowest free sectors, and everything else stays where it is, as a delta over the old file.
 * What removed streams occupied becomes zero, and sectors at the end of the file are cut off. The FAT never becomes smaller.
 * Throws `cfb-…`.
 */
export async function updateCompoundFile(
  file: CompoundFile,
  { remove = [], write = [], modified }: CompoundChanges,
): Promise<PatchedSource> {
  const { source, layout, root } = file;
  const changes = new FileChanges();
  const sectors = new EditedSectors(source, layout, changes);
  const directory = new EditedDirectory(source, layout, sectors);
  const mini = new EditedMiniStream(layout, sectors, directory);
  const free = (stream: StreamEntry): void => {
    const chain = layout.chains.get(stream.index);
    if (chain) (stream.size < MINI_CUTOFF ? mini : sectors).free(chain.sectors());
  };
  remove.forEach(free);
  directory.remove(
    root.index,
    remove.map(({ index }) => index),
  );
  const replaced = write
    .flatMap(({ name }) => streamNamed(root, name) ?? [])
    .filter((each) => !remove.includes(each));
  replaced.forEach(free);
  for (const { name, content } of write) {
    requireSize(file, name, content.size);
    const index = directory.find(root.index, name) ?? directory.addStream(root.index, name);
    const start = await store(content, { mini, sectors });
    directory.setContent(index, start, content.size);
  }
  if (modified) directory.setModified(root.index, modified);
  await mini.finish();
  if (remove.length > 0) directory.shrink();
  directory.finish();
  return changes.apply(source, sectors.finish());
}

const streamNamed = ({ children }: StorageEntry, wanted: string): StreamEntry | undefined =>
  children.find((each): each is StreamEntry => each.kind === 'stream' && each.name === wanted);

async function store(
  content: ByteSource,
  { mini, sectors }: { readonly mini: EditedMiniStream; readonly sectors: EditedSectors },
): Promise<number> {
  if (content.size === 0) return SECTOR.endOfChain;
  if (content.size >= MINI_CUTOFF) return sectors.store(content);
  return mini.store(await content.read(0, content.size));
}

function requireSize({ source, version }: CompoundFile, name: string, size: number): void {
  if (version === 3 && size > MAX_STREAM_V3)
    throw fault(source, 'cfb-too-large', `stream ${JSON.stringify(name)} would have ${size} bytes`);
}
