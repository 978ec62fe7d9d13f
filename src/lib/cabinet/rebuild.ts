import { BufferSource, type ByteSource } from '../bytes/byte-source.ts';
import { ConcatenatedSource, whole } from '../bytes/concatenated-source.ts';
import { DeltaBuilder } from '../bytes/delta.ts';
import { PatchedSource } from '../bytes/patched-source.ts';
import { readChunks } from '../bytes/read-chunks.ts';
import { invalid } from '../errors.ts';
import type { ArchiveLimits } from '../zip/limits.ts';
import { BLOCK_SIZE, type Cabinet, type CabinetFolder, type CabinetMember } from './cabinet.ts';
import { readBlocks, type UnpackedBlock } from './data-blocks.ts';
import { newTables, tooLarge, type NewContents, type NewFolder, type Piece } from './new-tables.ts';
import { packBlocks } from './pack-blocks.ts';
import { whyFixed, whyNotRebuilt } from './why-fixed.ts';
import { FolderReader } from './folder-reader.ts';
import { HISTORY } from './mszip.ts';
import { rangesOf, type MemberRange } from './shared-ranges.ts';
import { requireUnpackable, unpackBlocks } from './unpack.ts';

/** The most data blocks of a folder. */
const MOST_BLOCKS = 0xffff;

/** The most new bytes, which are held in memory. */
const MOST_NEW_BYTES = 2 ** 31;

/**
 * The cabinet with new content for some members. Folders, their compression, the order of members, times and attributes
 * stay; the reserved area of the header is left out, and so are bytes that nothing refers to. Blocks of a folder up to its
 * first new member are copied, all others are packed again, and held in memory. Throws `cab-too-large`, `cab-member-fixed`, and what unpacking throws.
 */
export async function rebuildCabinet(
  cabinet: Cabinet,
  contents: NewContents,
  limits: Pick<ArchiveLimits, 'ratio'>,
): Promise<PatchedSource> {
  requireUnpackable(cabinet);
  const why = whyNotRebuilt(cabinet);
  if (why !== null) throw invalid('cab-member-fixed', `${cabinet.source.name}: each file in it ${why}`);
  for (const member of contents.keys()) requireReplaceable(cabinet, member);
  const folders: NewFolder[] = [];
  for (const folder of cabinet.folders) {
    const changed = rangesOf(folder.members).filter(({ members }) =>
      members.some((member) => contents.has(member)),
    );
    folders.push(
      changed.length === 0
        ? await copyFolder(cabinet, folder)
        : await packFolder(cabinet, { folder, changed, contents, limits }),
    );
  }
  const tables = await newTables(cabinet, folders, contents);
  return assemble(cabinet.source, [tables, ...folders.flatMap(({ pieces }) => pieces)]);
}

function requireReplaceable(cabinet: Cabinet, member: CabinetMember): void {
  const why = whyFixed(cabinet, member);
  if (why !== null) throw invalid('cab-member-fixed', `${cabinet.source.name}: "${member.name}" ${why}`);
}

async function copyFolder(cabinet: Cabinet, folder: CabinetFolder): Promise<NewFolder> {
  let end = folder.dataAt;
  for await (const block of readBlocks(cabinet, folder)) end = block.end;
  return { pieces: [{ start: folder.dataAt, end }], blockCount: folder.blockCount };
}

interface FolderChange {
  readonly folder: CabinetFolder;
  /** What has members with new content, in ascending order. */
  readonly changed: readonly MemberRange[];
  readonly contents: NewContents;
  readonly limits: Pick<ArchiveLimits, 'ratio'>;
}

async function packFolder(cabinet: Cabinet, change: FolderChange): Promise<NewFolder> {
  const { folder, changed, limits } = change;
  const blocks = unpackBlocks(cabinet, folder, limits);
  try {
    const kept = await keepBlocks(folder, blocks, changed[0]?.start ?? 0);
    const reader = new FolderReader(cabinet, kept.rest, kept.count * BLOCK_SIZE);
    const pieces: Piece[] = kept.count > 0 ? [{ start: folder.dataAt, end: kept.end }] : [];
    let [blockCount, newBytes] = [kept.count, 0];
    for await (const block of packBlocks(newContent(reader, change), folder.compression, kept.history)) {
      pieces.push(block);
      blockCount += 1;
      newBytes += block.length;
      if (blockCount > MOST_BLOCKS || newBytes > MOST_NEW_BYTES)
        throw tooLarge(cabinet.source.name, 'a folder');
    }
    return { pieces, blockCount };
  } finally {
    await blocks.return(undefined);
  }
}

interface KeptBlocks {
  readonly count: number;
  /** The offset in the cabinet up to which its blocks are kept. */
  readonly end: number;
  readonly history: Buffer;
  /** The blocks that follow. */
  readonly rest: AsyncIterable<UnpackedBlock>;
}

/** Reads the blocks that end at or before the first change; a short one, the last, is not kept. */
async function keepBlocks(
  folder: CabinetFolder,
  blocks: AsyncGenerator<UnpackedBlock>,
  firstChange: number,
): Promise<KeptBlocks> {
  let [count, end, history] = [0, folder.dataAt, Buffer.alloc(0) as Buffer];
  let next = await blocks.next();
  while (!next.done && next.value.size === BLOCK_SIZE && (count + 1) * BLOCK_SIZE <= firstChange) {
    ({ end, raw: history } = next.value);
    count += 1;
    next = await blocks.next();
  }
  return { count, end, history: history.subarray(-HISTORY), rest: following(next, blocks) };
}

async function* following(
  first: IteratorResult<UnpackedBlock>,
  others: AsyncIterable<UnpackedBlock>,
): AsyncGenerator<UnpackedBlock> {
  if (first.done) return;
  yield first.value;
  yield* others;
}

/**
 * What follows the kept blocks: old bytes, in which changed members have their new content, which follows the old one if
 * other members share that.
 */
async function* newContent(
  reader: FolderReader,
  { changed, contents }: FolderChange,
): AsyncGenerator<Buffer> {
  for (const { start, end, members } of changed) {
    yield* reader.readTo(start);
    if (members.every((member) => contents.has(member))) await reader.skipTo(end);
    else yield* reader.readTo(end);
    for (const member of members) {
      const content = contents.get(member);
      if (content) yield* readChunks(content);
    }
  }
  yield* reader.readAll();
}

function assemble(source: ByteSource, pieces: readonly Piece[]): PatchedSource {
  const builder = new DeltaBuilder();
  const fresh: Buffer[] = [];
  for (const piece of pieces)
    if (Buffer.isBuffer(piece)) {
      builder.insert(piece.length);
      fresh.push(piece);
    } else builder.copy(piece);
  const newBytes = new ConcatenatedSource(
    fresh.map((bytes) => whole(new BufferSource(bytes, source.name))),
    source.name,
  );
  return new PatchedSource(source, builder.delta, newBytes);
}
