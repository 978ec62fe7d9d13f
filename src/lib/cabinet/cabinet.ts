import type { ByteSource } from '../bytes/byte-source.ts';
import { decodeWindows1252 } from '../bytes/code-page.ts';
import { corruptCabinet } from './errors.ts';
import { isWindow } from './lzx/window.ts';
import { CABINET_FLAG, LONGEST_NAME, readCabinetHeader, type CabinetHeader } from './header.ts';

/*
 * [MS-CAB] sections 2.2 and 2.3:
 *
 *   CFFOLDER  coffCabStart u32, cCFData u16, typeCompress u16, abReserve
 *   CFFILE    cbFile u32, uoffFolderStart u32, iFolder u16, date u16, time u16, attribs u16, szName
 */

/** Uncompressed bytes of a data block; only the last of a folder has fewer. */
export const BLOCK_SIZE = 32_768;

const FOLDER_ENTRY = 8;
const FILE_ENTRY = 16;
/** Attribute bit: the name is UTF-8. */
const NAME_IS_UTF8 = 0x80;
/** Values of iFolder from here on say that a member continues in a neighbour of the set. */
const FIRST_CONTINUED = 0xfffd;
const CONTINUED_FROM_PREVIOUS: readonly number[] = [0xfffd, 0xffff];
const CONTINUED_TO_NEXT: readonly number[] = [0xfffe, 0xffff];

export type Compression = 'stored' | 'MSZIP' | 'Quantum' | 'LZX';
const COMPRESSIONS: readonly Compression[] = ['stored', 'MSZIP', 'Quantum', 'LZX'];

/** A folder: members that are compressed as one. */
export interface CabinetFolder {
  /** The offset of its first data block. */
  readonly dataAt: number;
  /** The offset that its data does not pass: where the data of another folder begins, or the cabinet ends. */
  readonly dataLimit: number;
  readonly blockCount: number;
  readonly compression: Compression;
  /** Of LZX: the window has two to the power of this many bytes. */
  readonly windowBits: number;
  /** In file order. */
  readonly members: readonly CabinetMember[];
}

export interface CabinetMember {
  /** As it is in the cabinet, decoded: UTF-8 if its attribute says so, else windows-1252. */
  readonly name: string;
  /** Other forms that readers decode from the same bytes. */
  readonly otherNames: readonly string[];
  readonly size: number;
  /** The offset of its first byte in the uncompressed folder. */
  readonly offset: number;
  /** Index of its folder. */
  readonly folder: number;
  /**
   * Whether its folder begins in the previous cabinet of the set, from which offsets then count, or it ends in the next:
   * this cabinet alone does not have its content.
   */
  readonly continued: boolean;
  /** Where its entry is in the cabinet. */
  readonly entryAt: number;
}

/** An open cabinet: its tables, without its data. */
export interface Cabinet {
  readonly source: ByteSource;
  readonly header: CabinetHeader;
  readonly folders: readonly CabinetFolder[];
  /** In the order of the table. */
  readonly members: readonly CabinetMember[];
  /** The end of the table of members. */
  readonly filesEnd: number;
}

type FolderEntry = Omit<CabinetFolder, 'members' | 'dataLimit'>;

/** Reads all tables of a cabinet, every byte of them; throws `cab-corrupt`. */
export async function openCabinet(source: ByteSource): Promise<Cabinet> {
  const header = await readCabinetHeader(source);
  const entries = await readFolders(source, header);
  const dataAt = entries.reduce((least, folder) => Math.min(least, folder.dataAt), header.size);
  const { members, end } = await readMembers(source, header, entries, dataAt);
  if (entries.some((folder) => folder.dataAt < end || folder.dataAt > header.size))
    throw corruptCabinet(source.name, 'a folder has its data outside of the part for data');
  for (const member of members) requireInFolder(member, entries, source.name);
  const byFolder = entries.map((): CabinetMember[] => []);
  for (const member of members) byFolder[member.folder]?.push(member);
  const limits = dataLimits(entries, header.size);
  const folders = entries.map((entry, index) => ({
    ...entry,
    dataLimit: limits[index] ?? header.size,
    members: byFolder[index] ?? [],
  }));
  return { source, header, folders, members, filesEnd: end };
}

/** Where the data of each folder has to end. Of folders that begin at one place, only the last may have data. */
function dataLimits(folders: readonly FolderEntry[], size: number): number[] {
  const order = folders.map((_, index) => index);
  const dataAt = (index: number): number => folders[index]?.dataAt ?? size;
  order.sort((a, b) => dataAt(a) - dataAt(b) || a - b);
  const limits: number[] = [];
  for (const [place, index] of order.entries()) {
    const next = order[place + 1];
    limits[index] = next === undefined ? size : dataAt(next);
  }
  return limits;
}

async function readFolders(source: ByteSource, header: CabinetHeader): Promise<FolderEntry[]> {
  const { folders, folderCount, reserve } = header;
  const bytes = await source.read(folders.start, folders.end - folders.start);
  return Array.from({ length: folderCount }, (_, index) => {
    const at = index * (FOLDER_ENTRY + (reserve?.perFolder ?? 0));
    const type = bytes.readUInt16LE(at + 6);
    return {
      dataAt: bytes.readUInt32LE(at),
      blockCount: bytes.readUInt16LE(at + 4),
      compression: compressionOf(type, source.name),
      windowBits: type >> 8,
    };
  });
}

/** The low four bits name the method; Quantum and LZX have parameters in the others. */
function compressionOf(type: number, name: string): Compression {
  const method = COMPRESSIONS[type & 0xf];
  const plain = method === 'stored' || method === 'MSZIP';
  if (!method || (plain && type > 0xf) || (method === 'LZX' && !isWindow(type >> 8)))
    throw corruptCabinet(name, `unknown compression 0x${type.toString(16)}`);
  return method;
}

/** Reads the table of members, which lies before `limit`. */
async function readMembers(
  source: ByteSource,
  header: CabinetHeader,
  folders: readonly FolderEntry[],
  limit: number,
): Promise<{ members: CabinetMember[]; end: number }> {
  const { filesAt, fileCount } = header;
  const room = Math.max(0, limit - filesAt);
  const bytes = await source.read(filesAt, Math.min(room, fileCount * (FILE_ENTRY + LONGEST_NAME + 1)));
  const members: CabinetMember[] = [];
  let [at, firstBegun] = [0, true];
  for (let index = 0; index < fileCount; index++) {
    const nameEnd = bytes.indexOf(0, at + FILE_ENTRY);
    if (at + FILE_ENTRY >= bytes.length || nameEnd < 0)
      throw corruptCabinet(source.name, `its table of files ends inside entry ${index + 1} of ${fileCount}`);
    const entry = bytes.subarray(at, nameEnd);
    members.push(readMember(entry, filesAt + at, { source, header, folders }));
    if (CONTINUED_FROM_PREVIOUS.includes(entry.readUInt16LE(8))) firstBegun = false;
    at = nameEnd + 1;
  }
  const continuing = (member: CabinetMember): CabinetMember =>
    member.folder === 0 ? { ...member, continued: true } : member;
  return { members: firstBegun ? members : members.map(continuing), end: filesAt + at };
}

function requireInFolder(
  { name, folder, offset, size, continued }: CabinetMember,
  folders: readonly FolderEntry[],
  cabinet: string,
): void {
  if (!continued && offset + size > (folders[folder]?.blockCount ?? 0) * BLOCK_SIZE)
    throw corruptCabinet(cabinet, `"${name}" runs past the end of its folder`);
}

function readMember(
  entry: Buffer,
  entryAt: number,
  { source, header, folders }: { source: ByteSource; header: CabinetHeader; folders: readonly FolderEntry[] },
): CabinetMember {
  const { name, otherNames } = memberName(entry, source.name);
  const index = entry.readUInt16LE(8);
  const folder = folderOf(index, header);
  if (folders[folder] === undefined)
    throw corruptCabinet(source.name, `"${name}" is in folder ${index}, which is missing`);
  const [size, offset] = [entry.readUInt32LE(0), entry.readUInt32LE(4)];
  const continued = index >= FIRST_CONTINUED;
  return { name, otherNames, size, offset, folder, continued, entryAt };
}

/** The index of a member's folder; -1 if there is no such neighbour that it could continue in. */
function folderOf(index: number, { flags, folderCount }: CabinetHeader): number {
  if (index < FIRST_CONTINUED) return index;
  const missing =
    (CONTINUED_FROM_PREVIOUS.includes(index) && (flags & CABINET_FLAG.previous) === 0) ||
    (CONTINUED_TO_NEXT.includes(index) && (flags & CABINET_FLAG.next) === 0);
  if (missing) return -1;
  return CONTINUED_FROM_PREVIOUS.includes(index) ? 0 : folderCount - 1;
}

/** A name without the attribute for UTF-8 is in the code page of the machine that unpacks it. */
function memberName(entry: Buffer, cabinet: string): Pick<CabinetMember, 'name' | 'otherNames'> {
  const bytes = entry.subarray(FILE_ENTRY);
  if (bytes.length === 0 || bytes.length > LONGEST_NAME)
    throw corruptCabinet(cabinet, `a name of ${bytes.length} bytes`);
  const utf8 = decodeUtf8(bytes);
  if ((entry.readUInt16LE(14) & NAME_IS_UTF8) === 0) {
    const name = decodeWindows1252(bytes);
    return { name, otherNames: utf8 === null || utf8 === name ? [] : [utf8] };
  }
  if (utf8 === null)
    throw corruptCabinet(cabinet, 'a name that is not the UTF-8 which its attribute announces');
  return { name: utf8, otherNames: [] };
}

function decodeUtf8(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
