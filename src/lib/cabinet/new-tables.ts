import type { ByteRange } from '../bytes/byte-range.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { invalid, type SignpipeError } from '../errors.ts';
import type { Cabinet, CabinetMember } from './cabinet.ts';
import { CABINET_FLAG, FIXED_HEADER } from './header.ts';
import { rangesOf } from './shared-ranges.ts';

/** The largest offset in a folder and in a cabinet. */
const LARGEST_OFFSET = 0xffffffff;

/** The new content of members; the size of a source is that of the member. */
export type NewContents = ReadonlyMap<CabinetMember, ByteSource>;

/** Ranges of the old cabinet and new bytes, in the order of the new one. */
export type Piece = ByteRange | Buffer;

/** The data of a folder in the new cabinet. */
export interface NewFolder {
  readonly pieces: readonly Piece[];
  readonly blockCount: number;
}

/** The error for content that no longer fits. */
export const tooLarge = (name: string, what: string): SignpipeError =>
  invalid(
    'cab-too-large',
    `${name}: with its new content ${what} would be larger than a cabinet can express`,
    {
      hint: 'divide its content into more cabinets',
    },
  );

const sizeOf = (piece: Piece): number => (Buffer.isBuffer(piece) ? piece.length : piece.end - piece.start);

/** Header, folders and files of the new cabinet. */
export async function newTables(
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
  for (const { members } of folders)
    for (const { member, offset, size } of placesOf(members, contents)) {
      const at = member.entryAt - header.filesAt;
      if (offset + size > LARGEST_OFFSET) throw tooLarge(source.name, 'a folder');
      table.writeUInt32LE(size, at);
      table.writeUInt32LE(offset, at + 4);
    }
  return table;
}

interface MemberPlace {
  readonly member: CabinetMember;
  readonly offset: number;
  readonly size: number;
}

/** Where the members of a folder lie: what members share stays, and new content follows it, each for itself. */
function* placesOf(members: readonly CabinetMember[], contents: NewContents): Generator<MemberPlace> {
  let grown = 0;
  for (const range of rangesOf(members)) {
    let offset = range.start + grown;
    const kept = range.members.filter((member) => !contents.has(member));
    for (const member of kept) yield { member, offset, size: member.size };
    if (kept.length > 0) offset += range.end - range.start;
    for (const member of range.members) {
      const size = contents.get(member)?.size;
      if (size === undefined) continue;
      yield { member, offset, size };
      offset += size;
    }
    grown = offset - range.end;
  }
}
