import type { ByteSource } from '../bytes/byte-source.ts';
import type { CompoundFile, CompoundLayout } from './compound-file.ts';
import { streamsIn } from './compound-file.ts';
import { ENTRY, ENTRY_SIZE, NAME_SIZE, TYPE } from './directory-entry.ts';
import { HEADER_SIZE, MINI_CUTOFF, MINI_SECTOR, SECTOR } from './header.ts';
import { SectorChain } from './sector-chain.ts';

/**
 * Which part of a compound file has bytes that mean nothing.
 *
 * - `header`: reserved fields, and in version 4 the rest of the header's sector
 * - `table`: entries of the allocation tables for sectors beyond the end
 * - `directory`: fields without a meaning, and entries that no tree uses
 * - `slack`: between the end of a stream and the end of its last sector
 * - `free`: sectors that nothing uses
 * - `end`: behind the last sector that something uses
 */
export type UnusedPart = 'header' | 'table' | 'directory' | 'slack' | 'free' | 'end';

/** Bytes that mean nothing, and are not zero as a careful writer leaves them. */
export interface UnusedBytes {
  readonly part: UnusedPart;
  /** Offset in the file. */
  readonly at: number;
  readonly bytes: Buffer;
}

/** A range of the file that means nothing. */
export interface UnusedPlace {
  readonly part: UnusedPart;
  readonly at: number;
  readonly length: number;
}

const STEP = 1024 * 1024;

/** All bytes of a compound file that mean nothing and are not zero, in pieces of at most 1 MiB. */
export async function* unusedBytes(file: CompoundFile): AsyncGenerator<UnusedBytes> {
  yield* headerBytes(file.layout);
  yield* tableBytes(file.layout);
  yield* directoryBytes(file);
  for (const place of unusedPlaces(file)) yield* nonZero(file.source, place);
}

async function* nonZero(source: ByteSource, { part, at, length }: UnusedPlace): AsyncGenerator<UnusedBytes> {
  const end = Math.min(at + length, source.size);
  for (let start = at; start < end; start += STEP) {
    const bytes = await source.read(start, Math.min(STEP, end - start));
    if (!isZero(bytes)) yield { part, at: start, bytes };
  }
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

/** Minor versions that writers use: 62 is usual, 59 and 33 are old. */
const MINOR_VERSIONS: ReadonlySet<number> = new Set([62, 59, 33]);

function* headerBytes({ header }: CompoundLayout): Generator<UnusedBytes> {
  const field = (at: number, length: number): UnusedBytes => ({
    part: 'header',
    at,
    bytes: header.bytes.subarray(at, at + length),
  });
  if (!MINOR_VERSIONS.has(header.bytes.readUInt16LE(24))) yield field(24, 2);
  for (const [at, length] of [
    [8, 16],
    [34, 6],
    [52, 4],
  ] as const)
    if (!isZero(field(at, length).bytes)) yield field(at, length);
}

/**
 * The first entry of each table that is in use, though the sector that it stands for does not exist. osslsigncode marks the
 * sector behind the last one as the end of a chain.
 */
function* tableBytes({ fat, miniFat, miniFatChain, sectors }: CompoundLayout): Generator<UnusedBytes> {
  const perSector = sectors.size / 4;
  for (const { table, sectorAt } of [
    { table: fat.table, sectorAt: (at: number) => fat.fatSectors[at] ?? 0 },
    { table: miniFat, sectorAt: (at: number) => miniFatChain.at(at) },
  ]) {
    const beyond = table.next
      .subarray(table.sectors)
      .findIndex((value, at) => value !== SECTOR.free && !(at === 0 && value === SECTOR.endOfChain));
    if (beyond < 0) continue;
    const entry = table.sectors + beyond;
    const at = sectors.offset(sectorAt(Math.floor(entry / perSector))) + (entry % perSector) * 4;
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(table.next[entry] ?? 0);
    yield { part: 'table', at, bytes };
  }
}

/** Values of the first sector of a stream without content. */
const NO_START: ReadonlySet<number> = new Set([0, SECTOR.endOfChain, SECTOR.free]);

function* directoryBytes({ layout }: CompoundFile): Generator<UnusedBytes> {
  const { directory, directoryChain, sectors, usedEntries, header } = layout;
  for (let index = 0; index * ENTRY_SIZE < directory.length; index += 1) {
    const start = index * ENTRY_SIZE;
    const entry = directory.subarray(start, start + ENTRY_SIZE);
    const sector = directoryChain.at(Math.floor(start / sectors.size));
    const offset = sectors.offset(sector) + (start % sectors.size);
    const ranges = usedEntries[index] === 1 ? unusedFields(entry, header.version) : leftovers(entry);
    for (const [from, to] of ranges)
      yield { part: 'directory', at: offset + from, bytes: entry.subarray(from, to) };
  }
}

/** Fields of an entry in use that have no meaning for its type, and are not what writers leave in them. */
function unusedFields(entry: Buffer, version: 3 | 4): [number, number][] {
  const nameEnd = entry.readUInt16LE(ENTRY.nameLength);
  const fields: [number, number][] = [[nameEnd, NAME_SIZE]];
  const type = entry[ENTRY.type];
  if (type === TYPE.root) fields.push([ENTRY.created, ENTRY.created + 8]);
  if (type === TYPE.storage) fields.push([ENTRY.start, ENTRY_SIZE]);
  if (type === TYPE.stream) fields.push([ENTRY.clsid, ENTRY.clsid + 16]);
  if (version === 3 && type !== TYPE.storage) fields.push([ENTRY.size + 4, ENTRY_SIZE]);
  const found = fields.filter(([from, to]) => !isZero(entry.subarray(from, to)));
  const start = entry.readUInt32LE(ENTRY.start);
  const empty = type !== TYPE.storage && entry.readUInt32LE(ENTRY.size) === 0;
  if (empty && !NO_START.has(start)) found.push([ENTRY.start, ENTRY.size]);
  return found;
}

/** An entry that no tree uses; its links are zero or lead nowhere. */
function leftovers(entry: Buffer): [number, number][] {
  const links = entry.subarray(ENTRY.left, ENTRY.clsid);
  const clean = isZero(links) || links.every((byte) => byte === 0xff);
  const rest = [entry.subarray(0, ENTRY.left), entry.subarray(ENTRY.clsid)];
  return clean && rest.every(isZero) ? [] : [[0, ENTRY_SIZE]];
}

/** Where bytes lie that mean nothing, without the fields of header and directory. */
export function* unusedPlaces(file: CompoundFile): Generator<UnusedPlace> {
  const { header, sectors } = file.layout;
  if (header.version === 4) yield { part: 'header', at: HEADER_SIZE, length: sectors.size - HEADER_SIZE };
  yield* slack(file);
  yield* freeMiniSectors(file.layout);
  yield* freeSectors(file.layout);
}

/** Ends of streams; the mini stream is one, except for what its own streams leave unused. */
function* slack({ root, layout }: CompoundFile): Generator<UnusedPlace> {
  const { sectors, miniChain, miniSize, chains } = layout;
  yield* endOf(miniChain, miniSize, sectors.size, (sector) => sectors.offset(sector));
  for (const { index, size } of streamsIn(root)) {
    const chain = chains.get(index) ?? new SectorChain();
    if (size < MINI_CUTOFF) yield* endOf(chain, size, MINI_SECTOR, (sector) => miniOffset(layout, sector));
    else yield* endOf(chain, size, sectors.size, (sector) => sectors.offset(sector));
  }
}

function* endOf(
  chain: SectorChain,
  size: number,
  sectorSize: number,
  offset: (sector: number) => number,
): Generator<UnusedPlace> {
  for (let at = Math.floor(size / sectorSize); at < chain.length; at += 1) {
    const used = Math.max(0, size - at * sectorSize);
    if (used < sectorSize)
      yield { part: 'slack', at: offset(chain.at(at)) + used, length: sectorSize - used };
  }
}

/** Where a mini sector lies in the file. */
function miniOffset({ miniChain, sectors }: CompoundLayout, mini: number): number {
  const at = mini * MINI_SECTOR;
  return sectors.offset(miniChain.at(Math.floor(at / sectors.size))) + (at % sectors.size);
}

function* freeMiniSectors(layout: CompoundLayout): Generator<UnusedPlace> {
  const { miniFat, miniSize } = layout;
  for (let mini = 0; mini * MINI_SECTOR < miniSize; mini += 1)
    if (!miniFat.isOwned(mini)) yield { part: 'free', at: miniOffset(layout, mini), length: MINI_SECTOR };
}

function* freeSectors({ fat, sectors }: CompoundLayout): Generator<UnusedPlace> {
  const { table } = fat;
  let used = sectors.count;
  while (used > 0 && !table.isOwned(used - 1)) used -= 1;
  const free = new SectorChain();
  for (let sector = 0; sector < used; sector += 1) if (!table.isOwned(sector)) free.push(sector);
  for (const { sector, count } of free.runs())
    yield { part: 'free', at: sectors.offset(sector), length: count * sectors.size };
  yield { part: 'end', at: sectors.offset(used), length: sectors.source.size };
}
