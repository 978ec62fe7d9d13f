import { inflateRawSync, type ZlibOptions } from 'node:zlib';
import { invalid, messageOf } from '../errors.ts';
import { limitHint, type ArchiveLimits } from '../zip/limits.ts';
import type { Cabinet, CabinetFolder, CabinetMember } from './cabinet.ts';
import { readBlocks, type DataBlock } from './data-blocks.ts';
import { corruptCabinet, damagedData } from './errors.ts';

/*
 * [MS-MCI], MSZIP: each block is "CK" and a deflate stream of its own, which may refer to the 32 KiB of the folder before it.
 */

const MSZIP_MARK = Buffer.from('CK', 'latin1');

/** How far back MSZIP looks, in bytes. */
export const HISTORY = 32_768;

/** What unpacks to at most this, in bytes, is never a bomb. */
const HARMLESS = 1024 * 1024;

/** A block of a folder, and what it unpacks to. */
export interface UnpackedBlock extends DataBlock {
  readonly raw: Buffer;
}

/** Whether the content of a folder can be written again. */
export const canPack = ({ compression }: CabinetFolder): boolean =>
  compression === 'stored' || compression === 'MSZIP';

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

/** Unpacks the blocks of one folder, one after another. */
type Unpacker = (block: DataBlock) => Buffer;

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

function mszipUnpacker(name: string): Unpacker {
  let history: Buffer = Buffer.alloc(0);
  return (block) => {
    const raw = inflateBlock(block, history, name);
    history = raw.length >= HISTORY ? raw : Buffer.concat([history, raw]).subarray(-HISTORY);
    return raw;
  };
}

interface Inflated {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

function inflateBlock({ data, size, start }: DataBlock, history: Buffer, name: string): Buffer {
  if (!data.subarray(0, 2).equals(MSZIP_MARK))
    throw damagedData(name, `the data block at ${start} does not begin as MSZIP does`);
  const options: ZlibOptions = {
    maxOutputLength: size,
    chunkSize: Math.max(64, size + 1),
    info: true,
    ...(history.length > 0 ? { dictionary: history } : {}),
  };
  let inflated: Inflated;
  try {
    // With `info` the result has this form, which the types do not say.
    inflated = inflateRawSync(data.subarray(2), options) as unknown as Inflated;
  } catch (error) {
    throw damagedData(name, `the data block at ${start} cannot be unpacked: ${messageOf(error)}`);
  }
  if (inflated.engine.bytesWritten !== data.length - 2)
    throw damagedData(name, `the data block at ${start} has bytes behind its end`);
  return inflated.buffer;
}

/** Reads parts of an unpacked folder in ascending order. */
export class FolderReader {
  private readonly blocks: AsyncIterator<UnpackedBlock>;
  readonly name: string;
  private rest: Buffer = Buffer.alloc(0);
  /** The offset of the next byte in the unpacked folder. */
  position = 0;

  constructor(cabinet: Cabinet, blocks: AsyncIterable<UnpackedBlock>, position = 0) {
    this.name = cabinet.source.name;
    this.blocks = blocks[Symbol.asyncIterator]();
    this.position = position;
  }

  /** The next bytes up to `end`; throws `cab-corrupt` if the folder ends before. */
  async *readTo(end: number): AsyncGenerator<Buffer> {
    while (this.position < end) {
      if (this.rest.length === 0) {
        const next = await this.blocks.next();
        if (next.done)
          throw corruptCabinet(this.name, `a folder ends at ${this.position}, a member at ${end}`);
        this.rest = next.value.raw;
      }
      const chunk = this.rest.subarray(0, end - this.position);
      this.rest = this.rest.subarray(chunk.length);
      this.position += chunk.length;
      yield chunk;
    }
  }

  async skipTo(end: number): Promise<void> {
    for await (const _ of this.readTo(end));
  }

  /** All bytes that are left. */
  async *readAll(): AsyncGenerator<Buffer> {
    while (true) {
      if (this.rest.length > 0) yield* this.readTo(this.position + this.rest.length);
      const next = await this.blocks.next();
      if (next.done) return;
      this.rest = next.value.raw;
    }
  }

  /** Stops reading the cabinet. */
  async close(): Promise<void> {
    await this.blocks.return?.();
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
