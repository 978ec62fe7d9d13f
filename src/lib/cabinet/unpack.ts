import { invalid } from '../errors.ts';
import { limitHint, type ArchiveLimits } from '../zip/limits.ts';
import { BLOCK_SIZE, type Cabinet, type CabinetFolder, type CabinetMember } from './cabinet.ts';
import { readBlocks, type DataBlock, type UnpackedBlock } from './data-blocks.ts';
import { corruptCabinet, damagedData } from './errors.ts';
import { FolderReader } from './folder-reader.ts';
import { mszipUnpacker } from './mszip.ts';
import { rangesOf, type MemberRange } from './shared-ranges.ts';

/** What unpacks to at most this, in bytes, is never a bomb. */
const HARMLESS = 1024 * 1024;

/** Content that several members share is held in memory up to this size, in bytes, and unpacked for each of them above. */
const LARGEST_HELD = 8 * 1024 * 1024;

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
 * Checks what unpacking a cabinet relies on: members of a folder have the same content or lie apart, so that it is clear what
 * each is. Throws `cab-corrupt`, and `cab-reserve` if blocks have reserved areas.
 */
export function requireUnpackable({ source, header, folders }: Cabinet): void {
  if (header.reserve && header.reserve.perBlock > 0)
    throw invalid('cab-reserve', `${source.name}: its data blocks have reserved areas, and are not unpacked`);
  for (const folder of folders) requireApart(folder, source.name);
}

const wholeMembers = (members: readonly CabinetMember[]): CabinetMember[] =>
  members.filter(({ continued }) => !continued);

function requireApart({ members }: CabinetFolder, name: string): void {
  let last = 0;
  for (const { start, end, members: equal } of rangesOf(wholeMembers(members))) {
    if (start < last) throw corruptCabinet(name, `"${equal[0]?.name}" overlaps another file`);
    last = end;
  }
}

/** A member that is being read. */
export interface UnpackedMember {
  readonly member: CabinetMember;
  /** To be consumed, or left, before the next member is asked for. */
  readonly content: AsyncIterable<Buffer>;
}

/**
 * The content of the wanted members, folder by folder in the order of their data; each folder is unpacked once, as far as
 * needed, and again only for large content that members share. What cannot be unpacked throws when its content is read, not
 * before: `cab-set`, `cab-bomb`, and what `unpackBlocks` throws.
 */
export async function* unpackMembers(
  cabinet: Cabinet,
  wanted: (member: CabinetMember) => boolean,
  limits: Pick<ArchiveLimits, 'ratio'>,
): AsyncGenerator<UnpackedMember> {
  const { name } = cabinet.source;
  const tooMuch = isTooMuch(cabinet, limits);
  for (const folder of cabinet.folders) {
    const members = folder.members.filter(wanted);
    for (const member of members)
      if (member.continued) yield { member, content: continuedContent(name, member) };
    const ranges = rangesOf(wholeMembers(members));
    for (let reading = 0; reading < readingsOf(ranges); reading += 1) {
      const reader = new FolderReader(cabinet, unpackBlocks(cabinet, folder, limits));
      try {
        for (const { member, content } of readRanges(ranges, reading, reader))
          yield { member, content: tooMuch ? bomb(name) : content };
      } finally {
        await reader.close();
      }
    }
  }
}

const isHeld = ({ start, end }: MemberRange): boolean => end - start <= LARGEST_HELD;

/** How often a folder is unpacked. */
const readingsOf = (ranges: readonly MemberRange[]): number =>
  ranges.reduce((most, range) => Math.max(most, isHeld(range) ? 1 : range.members.length), 0);

function* readRanges(
  ranges: readonly MemberRange[],
  reading: number,
  reader: FolderReader,
): Generator<UnpackedMember> {
  for (const range of ranges) {
    const { members } = range;
    const member = members[reading];
    if (members.length > 1 && isHeld(range)) {
      const held = reading === 0 ? new HeldContent(reader, range) : null;
      if (held) for (const each of members) yield { member: each, content: held.content() };
    } else if (member) yield { member, content: contentOf(reader, range) };
  }
}

/** Content that is read when it is first asked for, and then again from memory. */
class HeldContent {
  private bytes: Promise<Buffer[]> | undefined;

  constructor(
    private readonly reader: FolderReader,
    private readonly range: MemberRange,
  ) {}

  async *content(): AsyncGenerator<Buffer> {
    this.bytes ??= collect(contentOf(this.reader, this.range));
    yield* await this.bytes;
  }
}

async function collect(content: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  return chunks;
}

async function* contentOf(reader: FolderReader, { start, end }: MemberRange): AsyncGenerator<Buffer> {
  await reader.skipTo(start);
  yield* reader.readTo(end);
}

/** Whether members that share content come to more than the ratio permits of the whole cabinet. */
function isTooMuch({ folders, header }: Cabinet, { ratio }: Pick<ArchiveLimits, 'ratio'>): boolean {
  let work = 0;
  for (const { members, blockCount } of folders) {
    const whole = wholeMembers(members);
    work += whole.reduce((sum, { size }) => sum + size, 0);
    work += Math.max(0, readingsOf(rangesOf(whole)) - 1) * blockCount * BLOCK_SIZE;
  }
  return work > HARMLESS && work > ratio * header.size;
}

// eslint-disable-next-line require-yield -- it throws before
async function* bomb(name: string): AsyncGenerator<Buffer> {
  throw invalid('cab-bomb', `${name}: its files, many of which share their content, would be too large`, {
    hint: limitHint('ratio'),
  });
}

// eslint-disable-next-line require-yield -- it throws before
async function* continuedContent(cabinet: string, { name }: CabinetMember): AsyncGenerator<Buffer> {
  throw invalid('cab-set', `${cabinet}: "${name}" continues in another cabinet, and is not unpacked`);
}
