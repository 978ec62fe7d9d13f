import type { ByteSource } from '../bytes/byte-source.ts';
import { AllocationTable } from './allocation-table.ts';
import { ChainSource } from './chain-source.ts';
import { ENTRY } from './directory-entry.ts';
import { DirectoryReader, type CompoundEntry, type StorageEntry, type StreamEntry } from './directory.ts';
import { MINI_CUTOFF, MINI_SECTOR, readHeader, type CompoundFileHeader } from './header.ts';
import { fault } from './faults.ts';
import { readFat, type Fat } from './read-fat.ts';
import { SectorChain } from './sector-chain.ts';
import { Sectors } from './sectors.ts';

export type { CompoundEntry, StorageEntry, StreamEntry } from './directory.ts';

/** Where everything in a compound file lies. */
export interface CompoundLayout {
  readonly header: CompoundFileHeader;
  readonly sectors: Sectors;
  readonly fat: Fat;
  readonly miniFat: AllocationTable;
  readonly miniFatChain: SectorChain;
  readonly directory: Buffer;
  readonly directoryChain: SectorChain;
  /** Entries of the directory that the tree uses. */
  readonly usedEntries: Uint8Array;
  /** The sectors of the mini stream, and its size in bytes. */
  readonly miniChain: SectorChain;
  readonly miniSize: number;
  /** By number of the directory entry: sectors of the file, or of the mini stream if that is where the stream lies. */
  readonly chains: ReadonlyMap<number, SectorChain>;
}

/** A compound file (MS-CFB), open for reading: a tree of storages and streams. */
export class CompoundFile {
  constructor(
    readonly source: ByteSource,
    readonly root: StorageEntry,
    readonly layout: CompoundLayout,
  ) {}

  /** Version 3 has sectors of 512 bytes, version 4 of 4096. */
  get version(): 3 | 4 {
    return this.layout.header.version;
  }

  /** The content of a stream, which is read from the file when it is asked for. */
  openStream({ index, size, name }: StreamEntry): ByteSource {
    const { chains, sectors } = this.layout;
    const chain = chains.get(index) ?? new SectorChain();
    const label = `${this.source.name}!/${name}`;
    if (size < MINI_CUTOFF) {
      const space = { source: this.miniStream, sectorSize: MINI_SECTOR, start: 0 };
      return new ChainSource(space, chain, size, label);
    }
    return new ChainSource(
      { source: this.source, sectorSize: sectors.size, start: sectors.size },
      chain,
      size,
      label,
    );
  }

  /** The stream that holds all small streams. */
  private get miniStream(): ByteSource {
    const { sectors, miniChain, miniSize } = this.layout;
    const space = { source: this.source, sectorSize: sectors.size, start: sectors.size };
    return new ChainSource(space, miniChain, wholeMiniSectors(miniSize), `${this.source.name}!mini stream`);
  }
}

/**
 * Opens a compound file: reads header, allocation tables and directory, and follows every chain, so that a file in which a
 * sector is used twice or is missing is refused before anything else is read. Throws `cfb-…` (`faults.ts`).
 */
export async function openCompoundFile(source: ByteSource): Promise<CompoundFile> {
  const header = await readHeader(source);
  const sectors = Sectors.of(source, header);
  const fat = await readFat(sectors, header);
  const directoryChain = fat.table.follow(header.directoryStart, 'the directory');
  if (directoryChain.length === 0) throw fault(source, 'cfb-directory', 'it has no directory');
  requireDirectoryCount(source, header, directoryChain.length);
  const directory = await readChain(sectors, directoryChain);
  const reader = new DirectoryReader(directory, header.version, source);
  const root = reader.read();
  const mini = await readMini(sectors, header, fat, reader);
  const chains = followStreams(root, { source, sectors, fat, reader, miniFat: mini.miniFat });
  const layout = {
    header,
    sectors,
    fat,
    ...mini,
    directory,
    directoryChain,
    usedEntries: reader.used,
    chains,
  };
  return new CompoundFile(source, root, layout);
}

/** Version 3 has no count. jsign counts one sector more than there is. */
function requireDirectoryCount(
  source: ByteSource,
  { version, directorySectors }: CompoundFileHeader,
  length: number,
): void {
  const right = version === 3 ? [0] : [length, length + 1];
  if (right.includes(directorySectors)) return;
  throw fault(
    source,
    'cfb-header',
    `its header counts ${directorySectors} directory sectors, and it has ${length}`,
  );
}

/** All sectors of a chain, in memory. */
async function readChain(sectors: Sectors, chain: SectorChain): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (const { sector, count } of chain.runs()) parts.push(await sectors.readRun(sector, count));
  return Buffer.concat(parts);
}

/** The size of a mini stream whose last sector is counted whole, as most writers do. */
const wholeMiniSectors = (size: number): number => Math.ceil(size / MINI_SECTOR) * MINI_SECTOR;

type MiniLayout = Pick<CompoundLayout, 'miniFat' | 'miniFatChain' | 'miniChain' | 'miniSize'>;

/** The mini FAT (MS-CFB section 2.4) and the mini stream, which is the root's content. */
async function readMini(
  sectors: Sectors,
  header: CompoundFileHeader,
  { table }: Fat,
  directory: DirectoryReader,
): Promise<MiniLayout> {
  const { source, size } = sectors;
  const none = header.miniFatSectors === 0;
  const miniFatChain = none ? new SectorChain() : table.follow(header.miniFatStart, 'the mini FAT');
  if (miniFatChain.length !== header.miniFatSectors)
    throw fault(source, 'cfb-header', `its header counts ${header.miniFatSectors} mini FAT sectors`);
  const miniSize = directory.sizeOf(0);
  const miniChain = chainOf(0, miniSize, { table, directory, what: 'the mini stream' });
  if (miniChain.length * size < miniSize)
    throw fault(source, 'cfb-chain', `the mini stream of ${miniSize} bytes has ${miniChain.length} sectors`);
  const padded = wholeMiniSectors(miniSize);
  requireWithin(sectors, miniChain, padded, 'the mini stream');
  const miniFatBytes = await readChain(sectors, miniFatChain);
  const miniFat = AllocationTable.fromBytes(miniFatBytes, padded / MINI_SECTOR, source);
  return { miniFat, miniFatChain, miniChain, miniSize };
}

interface ChainContext {
  readonly table: AllocationTable;
  readonly directory: DirectoryReader;
  readonly what: string;
}

/** The chain of a stream; without content it has none, whatever its start says. */
function chainOf(index: number, size: number, { table, directory, what }: ChainContext): SectorChain {
  if (size === 0) return new SectorChain();
  return table.follow(directory.entry(index).readUInt32LE(ENTRY.start), what);
}

interface StreamContext {
  readonly source: ByteSource;
  readonly sectors: Sectors;
  readonly fat: Fat;
  readonly reader: DirectoryReader;
  readonly miniFat: AllocationTable;
}

function followStreams(root: StorageEntry, context: StreamContext): Map<number, SectorChain> {
  const { source, sectors, fat, reader, miniFat } = context;
  const chains = new Map<number, SectorChain>();
  for (const { index, size } of streamsIn(root)) {
    const what = `stream ${index}`;
    const mini = size < MINI_CUTOFF;
    const chain = chainOf(index, size, { table: mini ? miniFat : fat.table, directory: reader, what });
    const unit = mini ? MINI_SECTOR : sectors.size;
    if (chain.length !== Math.ceil(size / unit))
      throw fault(source, 'cfb-chain', `${what} of ${size} bytes has ${chain.length} sectors of ${unit}`);
    if (!mini) requireWithin(sectors, chain, size, what);
    chains.set(index, chain);
  }
  return chains;
}

/** The last sector may be cut short, but not before the end of the stream. */
function requireWithin(sectors: Sectors, chain: SectorChain, bytes: number, what: string): void {
  const { source, size } = sectors;
  for (const { sector, position, count } of chain.runs()) {
    const length = Math.min(count * size, bytes - position * size);
    if (length > 0 && sectors.offset(sector) + length > source.size)
      throw fault(source, 'cfb-truncated', `${what} reaches beyond its end`);
  }
}

/** All streams below a storage, in the order of the tree. */
export function* streamsIn(storage: StorageEntry): Generator<StreamEntry> {
  for (const each of entriesIn(storage)) if (each.kind === 'stream') yield each;
}

/** Everything below a storage, each storage before what it holds. */
export function* entriesIn({ children }: StorageEntry): Generator<CompoundEntry> {
  for (const each of children) {
    yield each;
    if (each.kind === 'storage') yield* entriesIn(each);
  }
}
