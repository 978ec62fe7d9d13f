/**
 * Writes compound files for tests, with everything that real ones have: versions 3 and 4, storages, holes in the
 * allocation tables and in the directory, DIFAT sectors. It shares no code with what it tests.
 */

export interface MadeStream {
  readonly name: string;
  readonly content: Buffer;
  readonly created?: bigint;
  readonly modified?: bigint;
  readonly state?: number;
}

export interface MadeStorage {
  readonly name: string;
  readonly children: readonly (MadeStream | MadeStorage)[];
  /** 16 bytes, hex. */
  readonly clsid?: string;
  readonly created?: bigint;
  readonly modified?: bigint;
  readonly state?: number;
}

export interface MadeFile {
  readonly version: 3 | 4;
  readonly root: Omit<MadeStorage, 'name' | 'created'>;
  /** Free sectors before everything else; 0 if none. */
  readonly freeSectors?: number;
  /** Free mini sectors before everything else. */
  readonly freeMiniSectors?: number;
  /** Unused directory entries behind the root. */
  readonly unusedEntries?: number;
  /** Every entry is the right sibling of the one before, all black, as libgsf writes them. */
  readonly list?: boolean;
}

const END = 0xfffffffe;
const FREE = 0xffffffff;

interface Entry {
  node: MadeStream | MadeStorage;
  index: number;
  left: number;
  right: number;
  child: number;
  colour: number;
  start: number;
  size: number;
}

/** Content of a length, different everywhere and for each seed. */
export const filler = (length: number, seed = 1): Buffer =>
  Buffer.from(Array.from({ length }, (_, at) => (at * 31 + (at >> 8) * 7 + seed * 13) & 0xff));

/** CLSIDs of roots, as they are stored. */
export const ROOT_CLSID = {
  msi: '84100c0000000000c000000000000046',
  msp: '86100c0000000000c000000000000046',
  mst: '82100c0000000000c000000000000046',
  other: '0009020000000000c000000000000046',
};

class Writer {
  readonly sectorSize: number;
  readonly sectors: Buffer[] = [];
  readonly fat: number[] = [];
  readonly mini: Buffer[] = [];
  readonly miniFat: number[] = [];
  readonly entries: (Entry | null)[] = [];

  constructor(private readonly file: MadeFile) {
    this.sectorSize = file.version === 3 ? 512 : 4096;
    for (let at = 0; at < (file.freeSectors ?? 0); at += 1) this.sector(Buffer.alloc(0), FREE);
    for (let at = 0; at < (file.freeMiniSectors ?? 0); at += 1) {
      this.mini.push(Buffer.alloc(64));
      this.miniFat.push(FREE);
    }
  }

  write(): Buffer {
    const root = this.entry({ name: 'Root Entry', ...this.file.root });
    for (let at = 0; at < (this.file.unusedEntries ?? 0); at += 1) this.entries.push(null);
    this.addChildren(root);
    const mini = Buffer.concat(this.mini);
    root.size = mini.length;
    root.start = this.chain(mini);
    const miniFat = this.table(this.miniFat);
    const miniFatStart = this.chain(miniFat);
    const directory = this.directory();
    const directoryStart = this.chain(directory);
    return this.finish({ miniFat, miniFatStart, directory, directoryStart });
  }

  private bytesOf(sector: number): Buffer {
    return this.sectors[sector] ?? Buffer.alloc(0);
  }

  private sector(bytes: Buffer, mark: number): number {
    const sector = Buffer.alloc(this.sectorSize);
    bytes.copy(sector);
    this.sectors.push(sector);
    this.fat.push(mark);
    return this.sectors.length - 1;
  }

  private chain(bytes: Buffer): number {
    let first = END;
    for (let at = 0; at < bytes.length; at += this.sectorSize) {
      const sector = this.sector(bytes.subarray(at, at + this.sectorSize), END);
      if (at === 0) first = sector;
      else this.fat[sector - 1] = sector;
    }
    return first;
  }

  private miniChain(bytes: Buffer): number {
    let first = END;
    for (let at = 0; at < bytes.length; at += 64) {
      const sector = Buffer.alloc(64);
      bytes.copy(sector, 0, at);
      this.mini.push(sector);
      this.miniFat.push(END);
      if (at === 0) first = this.mini.length - 1;
      else this.miniFat[this.mini.length - 2] = this.mini.length - 1;
    }
    return first;
  }

  private entry(node: MadeStream | MadeStorage): Entry {
    const index = this.entries.length;
    const entry = { node, index, left: FREE, right: FREE, child: FREE, colour: 1, start: 0, size: 0 };
    this.entries.push(entry);
    return entry;
  }

  private addChildren(parent: Entry): void {
    if (!('children' in parent.node)) return;
    const entries = parent.node.children.map((each) => this.add(each));
    entries.sort((a, b) => compare(a.node.name, b.node.name));
    parent.child = this.file.list
      ? asList(entries)
      : balanced(entries, Math.floor(Math.log2(entries.length + 1)));
  }

  private add(node: MadeStream | MadeStorage): Entry {
    const entry = this.entry(node);
    if ('children' in node) this.addChildren(entry);
    else {
      entry.size = node.content.length;
      entry.start = entry.size < 4096 ? this.miniChain(node.content) : this.chain(node.content);
    }
    return entry;
  }

  private table(values: readonly number[]): Buffer {
    const length = Math.ceil((values.length * 4) / this.sectorSize) * this.sectorSize;
    const bytes = Buffer.alloc(length, 0xff);
    values.forEach((value, at) => bytes.writeUInt32LE(value, at * 4));
    return bytes;
  }

  private directory(): Buffer {
    const length = Math.ceil((this.entries.length * 128) / this.sectorSize) * this.sectorSize;
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; at += 128) bytes.fill(0xff, at + 68, at + 80);
    for (const entry of this.entries) if (entry) writeEntry(entry, bytes.subarray(entry.index * 128));
    return bytes;
  }

  private finish(parts: {
    miniFat: Buffer;
    miniFatStart: number;
    directory: Buffer;
    directoryStart: number;
  }): Buffer {
    const per = this.sectorSize / 4;
    let fatCount = 0;
    let difatCount = 0;
    for (;;) {
      const total = this.fat.length + fatCount + difatCount;
      const fats = Math.ceil(total / per);
      const difats = Math.ceil(Math.max(0, fats - 109) / (per - 1));
      if (fats === fatCount && difats === difatCount) break;
      fatCount = fats;
      difatCount = difats;
    }
    const fatSectors = Array.from({ length: fatCount }, () => this.sector(Buffer.alloc(0), 0xfffffffd));
    const difatSectors = Array.from({ length: difatCount }, () => this.sector(Buffer.alloc(0), 0xfffffffc));
    const fat = this.table(this.fat);
    fatSectors.forEach((sector, at) => fat.copy(this.bytesOf(sector), 0, at * this.sectorSize));
    difatSectors.forEach((sector, at) => {
      const bytes = this.bytesOf(sector).fill(0xff);
      const listed = fatSectors.slice(109 + at * (per - 1), 109 + (at + 1) * (per - 1));
      listed.forEach((each, index) => bytes.writeUInt32LE(each, index * 4));
      bytes.writeUInt32LE(difatSectors[at + 1] ?? END, this.sectorSize - 4);
    });
    const header = Buffer.alloc(this.sectorSize);
    Buffer.from('d0cf11e0a1b11ae1', 'hex').copy(header);
    for (const [at, value] of [
      [24, 62],
      [26, this.file.version],
      [28, 0xfffe],
      [30, Math.log2(this.sectorSize)],
      [32, 6],
    ] as const)
      header.writeUInt16LE(value, at);
    const fields = [
      this.file.version === 3 ? 0 : parts.directory.length / this.sectorSize,
      fatCount,
      parts.directoryStart,
      0,
      4096,
      parts.miniFatStart,
      parts.miniFat.length / this.sectorSize,
      difatSectors[0] ?? END,
      difatCount,
    ];
    fields.forEach((value, at) => header.writeUInt32LE(value, 40 + at * 4));
    header.fill(0xff, 76, 512);
    fatSectors.slice(0, 109).forEach((sector, at) => header.writeUInt32LE(sector, 76 + at * 4));
    return Buffer.concat([header, ...this.sectors]);
  }
}

function compare(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  const [one, other] = [a.toUpperCase(), b.toUpperCase()];
  return one < other ? -1 : one > other ? 1 : 0;
}

function asList(entries: readonly Entry[]): number {
  entries.forEach((entry, at) => (entry.right = entries[at + 1]?.index ?? FREE));
  return entries[0]?.index ?? FREE;
}

/** A red-black tree: black, but for the entries of the last level if that is not full. */
function balanced(entries: readonly Entry[], blackLevels: number): number {
  const middle = entries.length >> 1;
  const top = entries[middle];
  if (!top) return FREE;
  top.colour = blackLevels > 0 ? 1 : 0;
  top.left = balanced(entries.slice(0, middle), blackLevels - 1);
  top.right = balanced(entries.slice(middle + 1), blackLevels - 1);
  return top.index;
}

function writeEntry({ node, index, left, right, child, colour, start, size }: Entry, bytes: Buffer): void {
  const name = Buffer.from(`${node.name}\0`, 'utf16le');
  name.copy(bytes);
  bytes.writeUInt16LE(name.length, 64);
  const storage = 'children' in node;
  bytes[66] = index === 0 ? 5 : storage ? 1 : 2;
  bytes[67] = colour;
  [left, right, child].forEach((link, at) => bytes.writeUInt32LE(link, 68 + at * 4));
  if (storage && node.clsid !== undefined) Buffer.from(node.clsid, 'hex').copy(bytes, 80);
  bytes.writeUInt32LE(node.state ?? 0, 96);
  bytes.writeBigUInt64LE(node.created ?? 0n, 100);
  bytes.writeBigUInt64LE(node.modified ?? 0n, 108);
  bytes.writeUInt32LE(start, 116);
  bytes.writeUInt32LE(size, 120);
}

/** The bytes of a compound file. */
export const makeCompoundFile = (file: MadeFile): Buffer => new Writer(file).write();
