import type { ByteRange } from '../bytes/byte-range.ts';
import { BufferSource, type ByteSource } from '../bytes/byte-source.ts';
import { ConcatenatedSource, whole } from '../bytes/concatenated-source.ts';
import { DeltaBuilder } from '../bytes/delta.ts';
import { PatchedSource } from '../bytes/patched-source.ts';
import { readChunks } from '../bytes/read-chunks.ts';
import { invalid, type SignpipeError } from '../errors.ts';
import type { ArchiveLimits } from '../zip/limits.ts';
import { BLOCK_SIZE, type Cabinet, type CabinetFolder, type CabinetMember } from './cabinet.ts';
import { readBlocks } from './data-blocks.ts';
import { CABINET_FLAG, FIXED_HEADER } from './header.ts';
import { packBlocks } from './pack-blocks.ts';
import {
  canPack,
  FolderReader,
  HISTORY,
  requireUnpackable,
  unpackBlocks,
  type UnpackedBlock,
} from './unpack.ts';

/** The most data blocks of a folder, and the largest offset in one and in a cabinet. */
const MOST_BLOCKS = 0xffff;
const LARGEST_OFFSET = 0xffffffff;

/** The new content of members; the size of a source is that of the member. */
export type NewContents = ReadonlyMap<CabinetMember, ByteSource>;

/** Why the content of a member cannot be replaced, to complete "NAME: …"; null if it can be. */
export function whyFixed(cabinet: Cabinet, { folder: index }: CabinetMember): string | null {
  const folder = cabinet.folders[index];
  return folder && !canPack(folder) ? `is compressed with ${folder.compression}` : whyNotRebuilt(cabinet);
}

/** Why a cabinet is not written again: something in it would be lost, or other cabinets depend on it. */
function whyNotRebuilt({ source, header }: Cabinet): string | null {
  if ((header.flags & (CABINET_FLAG.previous | CABINET_FLAG.next)) !== 0)
    return 'is in one of a set of cabinets';
  if (header.reserve && (header.reserve.perBlock > 0 || header.reserve.perFolder > 0))
    return 'is in a cabinet with reserved areas of its own';
  if (header.checksum !== 0 || header.reserved.some((field) => field !== 0))
    return 'is in a cabinet with values in reserved fields';
  return header.reserve || source.size === header.size ? null : 'is in a cabinet that other bytes follow';
}

/** Ranges of the old cabinet and new bytes, in the order of the new one. */
type Piece = ByteRange | Buffer;

/** The data of a folder in the new cabinet. */
interface NewFolder {
  readonly pieces: readonly Piece[];
  readonly blockCount: number;
}

/**
 * The cabinet with new content for some members. Folders, their compression, the order of members, times and attributes
 * stay; the reserved area of the header is left out, and so are bytes that nothing refers to. Blocks of a folder up to its first new member are copied, all
 * others are packed again. Throws `cab-too-large`, `cab-member-fixed`, and what unpacking throws.
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
    const changed = folder.members.filter((member) => contents.has(member));
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

const tooLarge = (name: string, what: string): SignpipeError =>
  invalid(
    'cab-too-large',
    `${name}: with its new content ${what} would be larger than a cabinet can express`,
    {
      hint: 'divide its content into more cabinets',
    },
  );

async function copyFolder(cabinet: Cabinet, folder: CabinetFolder): Promise<NewFolder> {
  let end = folder.dataAt;
  for await (const block of readBlocks(cabinet, folder)) end = block.end;
  return { pieces: [{ start: folder.dataAt, end }], blockCount: folder.blockCount };
}

interface FolderChange {
  readonly folder: CabinetFolder;
  /** Members with new content, in ascending order. */
  readonly changed: readonly CabinetMember[];
  readonly contents: NewContents;
  readonly limits: Pick<ArchiveLimits, 'ratio'>;
}

async function packFolder(cabinet: Cabinet, change: FolderChange): Promise<NewFolder> {
  const { folder, changed, limits } = change;
  const blocks = unpackBlocks(cabinet, folder, limits);
  try {
    const kept = await keepBlocks(folder, blocks, changed[0]?.offset ?? 0);
    const reader = new FolderReader(cabinet, kept.rest, kept.count * BLOCK_SIZE);
    const pieces: Piece[] = kept.count > 0 ? [{ start: folder.dataAt, end: kept.end }] : [];
    let blockCount = kept.count;
    for await (const block of packBlocks(newContent(reader, change), folder.compression, kept.history)) {
      pieces.push(block);
      blockCount += 1;
      if (blockCount > MOST_BLOCKS) throw tooLarge(cabinet.source.name, 'a folder');
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

/** What follows the kept blocks: old bytes, in which changed members have their new content. */
async function* newContent(
  reader: FolderReader,
  { changed, contents }: FolderChange,
): AsyncGenerator<Buffer> {
  for (const member of changed) {
    yield* reader.readTo(member.offset);
    await reader.skipTo(member.offset + member.size);
    const content = contents.get(member);
    if (content) yield* readChunks(content);
  }
  yield* reader.readAll();
}

const sizeOf = (piece: Piece): number => (Buffer.isBuffer(piece) ? piece.length : piece.end - piece.start);

/** Header, folders and files of the new cabinet. */
async function newTables(
  cabinet: Cabinet,
  folders: readonly NewFolder[],
  contents: NewContents,
): Promise<Buffer> {
  const { source, header, filesEnd } = cabinet;
  const [fixed, oldFolders, files] = await Promise.all([
    source.read(0, FIXED_HEADER),
    source.read(header.folders.start, header.folders.end - header.folders.start),
    source.read(header.filesAt, filesEnd - header.filesAt),
  ]);
  const head = Buffer.from(fixed);
  const table = Buffer.from(oldFolders);
  const filesAt = FIXED_HEADER + table.length;
  let at = filesAt + files.length;
  for (const [index, { pieces, blockCount }] of folders.entries()) {
    if (at > LARGEST_OFFSET) throw tooLarge(source.name, 'it');
    table.writeUInt32LE(at, index * 8);
    table.writeUInt16LE(blockCount, index * 8 + 4);
    at += pieces.reduce((sum, piece) => sum + sizeOf(piece), 0);
  }
  if (at > LARGEST_OFFSET) throw tooLarge(source.name, 'it');
  head.writeUInt32LE(0, 0x04);
  head.writeUInt32LE(at, 0x08);
  head.writeUInt32LE(filesAt, 0x10);
  head.writeUInt16LE(header.flags & ~CABINET_FLAG.reserve, 0x1e);
  return Buffer.concat([head, table, newFiles(cabinet, files, contents)]);
}

/** The table of members with the sizes of the new ones, and the offsets of those behind them. */
function newFiles({ source, header, folders }: Cabinet, files: Buffer, contents: NewContents): Buffer {
  const table = Buffer.from(files);
  for (const { members } of folders) {
    let grown = 0;
    for (const member of members) {
      const at = member.entryAt - header.filesAt;
      const size = contents.get(member)?.size ?? member.size;
      if (member.offset + grown + size > LARGEST_OFFSET) throw tooLarge(source.name, 'a folder');
      table.writeUInt32LE(size, at);
      table.writeUInt32LE(member.offset + grown, at + 4);
      grown += size - member.size;
    }
  }
  return table;
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
