import { invalid } from '../errors.ts';
import { limitHint, type ArchiveLimits } from '../zip/limits.ts';
import type { Cabinet, CabinetFolder, CabinetMember } from './cabinet.ts';
import { readBlocks, type DataBlock, type UnpackedBlock } from './data-blocks.ts';
import { corruptCabinet, damagedData } from './errors.ts';
import { FolderReader } from './folder-reader.ts';
import { mszipUnpacker } from './mszip.ts';

/** What unpacks to at most this, in bytes, is never a bomb. */
const HARMLESS = 1024 * 1024;

/** Unpacks a folder from its beginning; throws `cab-compression`, `cab-bomb`, `cab-corrupt` or `cab-data-corrupt`. */
export async function* unpackBlocks(
  cabinet: Cabinet,
  folder: CabinetFolder,
  { ratio }: Pick<ArchiveLimits, 'ratio'>,
): AsyncGenerator<UnpackedBlock> {
  const { name } = cabinet.source;
  const unpack = await unpackerOf(folder, name);
  let [done, compressed] = [0, 0];
  for await (const block of readBlocks(cabinet, folder)) {
    done += block.size;
    compressed += block.data.length;
    if (done > HARMLESS && done > ratio * compressed)
      throw invalid('cab-bomb', `${name}: ${compressed} bytes would unpack to ${done}`, {
        hint: limitHint('ratio'),
      });
    const raw = unpack(block);
    if (raw.length !== block.size)
      throw damagedData(name, `the data block at ${block.start} has ${raw.length} bytes, not ${block.size}`);
    yield { ...block, raw };
  }
}

type Unpacker = (block: DataBlock) => Buffer;

/** What unpacks the blocks of a folder, one after another. */
async function unpackerOf(folder: CabinetFolder, name: string): Promise<Unpacker> {
  switch (folder.compression) {
    case 'stored':
      return ({ data }) => data;
    case 'MSZIP':
      return mszipUnpacker(name);
    case 'LZX': {
      const { lzxUnpacker } = await import('./lzx/unpacker.ts');
      return lzxUnpacker(folder, name);
    }
    case 'Quantum':
      throw invalid('cab-compression', `${name}: what is compressed with Quantum cannot be unpacked`, {
        hint: 'make the cabinet with MSZIP or without compression',
      });
  }
}

/**
 * Checks what unpacking a cabinet relies on: members are listed in the order of their data, and none overlaps another, so
 * that each folder is unpacked once. Throws `cab-corrupt`, and `cab-reserve` if blocks have reserved areas.
 */
export function requireUnpackable({ source, header, folders, members }: Cabinet): void {
  if (header.reserve && header.reserve.perBlock > 0)
    throw invalid('cab-reserve', `${source.name}: its data blocks have reserved areas, and are not unpacked`);
  const ordered = members.every(({ folder }, index) => folder >= (members[index - 1]?.folder ?? 0));
  if (!ordered) throw corruptCabinet(source.name, 'its files are not in the order of their folders');
  for (const folder of folders) requireApart(folder, source.name);
}

function requireApart({ members }: CabinetFolder, name: string): void {
  let end = 0;
  for (const member of members) {
    if (member.continued) continue;
    if (member.offset < end)
      throw corruptCabinet(name, `"${member.name}" overlaps the file before it, or precedes it`);
    end = member.offset + member.size;
  }
}

/** A member that is being read. */
export interface UnpackedMember {
  readonly member: CabinetMember;
  /** To be consumed, or left, before the next member is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * The content of the wanted members in the cabinet's order; each folder is unpacked once, as far as needed. What cannot be
 * unpacked throws when its content is read, not before: `cab-set`, and what `unpackBlocks` throws.
 */
export async function* unpackMembers(
  cabinet: Cabinet,
  wanted: (member: CabinetMember) => boolean,
  limits: Pick<ArchiveLimits, 'ratio'>,
): AsyncGenerator<UnpackedMember> {
  for (const folder of cabinet.folders) {
    const members = folder.members.filter(wanted);
    const reader = new FolderReader(cabinet, unpackBlocks(cabinet, folder, limits));
    try {
      for (const member of members) yield { member, content: contentOf(reader, member) };
    } finally {
      await reader.close();
    }
  }
}

async function* contentOf(reader: FolderReader, member: CabinetMember): AsyncGenerator<Buffer> {
  if (member.continued)
    throw invalid(
      'cab-set',
      `${reader.name}: "${member.name}" continues in another cabinet, and is not unpacked`,
    );
  await reader.skipTo(member.offset);
  yield* reader.readTo(member.offset + member.size);
}
