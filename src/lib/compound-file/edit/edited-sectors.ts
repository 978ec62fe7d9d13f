import type { ByteSource } from '../../bytes/byte-source.ts';
import type { CompoundLayout } from '../compound-file.ts';
import { fault } from '../faults.ts';
import { DIFAT_AT, FIELD, HEADER_DIFAT, SECTOR } from '../header.ts';
import { SectorChain } from '../sector-chain.ts';
import { EditableTable } from './editable-table.ts';
import type { FileChanges } from './file-changes.ts';

/** MS-CFB section 2.7: the sector with this offset is used for file locks and holds nothing. */
const RANGE_LOCK_AT = 0x7fffff00;

/** The largest compound file that is written: the FAT of a larger one is not read. */
const MAX_FAT_ENTRIES = 8 * 1024 * 1024;

/** The sectors of a file that is being changed, their FAT, and the FAT's list. */
export class EditedSectors {
  readonly fat: EditableTable;
  /** The 512 bytes of the header. */
  readonly header: Buffer;
  readonly size: number;
  private readonly fatSectors: number[];
  private readonly difatSectors: number[];
  /** Sectors that were in use before and may be free now; their bytes become zero unless they are used again. */
  private readonly freed: number[] = [];

  constructor(
    private readonly source: ByteSource,
    private readonly layout: CompoundLayout,
    private readonly changes: FileChanges,
  ) {
    this.fat = new EditableTable(layout.fat.table);
    this.header = Buffer.from(layout.header.bytes);
    this.size = layout.sectors.size;
    this.fatSectors = [...layout.fat.fatSectors];
    this.difatSectors = [...layout.fat.difatSectors];
  }

  offset(sector: number): number {
    return this.layout.sectors.offset(sector);
  }

  /** Takes the lowest free sector; after `last`, if that is given, as the next of its chain. */
  allocate(last?: number): number {
    let sector = this.fat.take();
    // The sector of the range lock stays the end of a chain without a beginning.
    while (sector === undefined || this.isRangeLock(sector)) {
      if (sector === undefined) this.growFat();
      sector = this.fat.take();
    }
    if (last !== undefined) this.fat.set(last, sector);
    return sector;
  }

  free(sectors: Iterable<number>): void {
    for (const sector of sectors) {
      this.fat.set(sector, SECTOR.free);
      this.freed.push(sector);
    }
  }

  /** Cuts a chain to its first `length` sectors, and frees the others. */
  cutChain(chain: number[], length: number): void {
    const dropped = chain.splice(length);
    this.free(dropped);
    const last = chain.at(-1);
    if (dropped.length > 0 && last !== undefined) this.fat.set(last, SECTOR.endOfChain);
  }

  /** Writes a whole sector, or the beginning of one whose rest becomes zero. */
  write(sector: number, bytes: Buffer): void {
    const padded =
      bytes.length === this.size ? bytes : Buffer.concat([bytes, Buffer.alloc(this.size - bytes.length)]);
    this.changes.setBytes(this.offset(sector), padded);
  }

  /** A new chain of sectors with the content of a source; returns its first sector. */
  store(content: ByteSource): number {
    let first: number = SECTOR.endOfChain;
    let last: number | undefined;
    let run = { sector: 0, start: 0, end: 0 };
    const flush = (): void => this.writeRun(run, content);
    for (let at = 0; at < content.size; at += this.size) {
      const sector = this.allocate(last);
      if (last === undefined) first = sector;
      if (last === undefined || sector !== last + 1) {
        flush();
        run = { sector, start: at, end: at };
      }
      run.end = Math.min(at + this.size, content.size);
      last = sector;
    }
    flush();
    return first;
  }

  private writeRun(
    { sector, start, end }: { readonly sector: number; readonly start: number; readonly end: number },
    content: ByteSource,
  ): void {
    if (start === end) return;
    const count = Math.ceil((end - start) / this.size);
    this.changes.set(this.offset(sector), { source: content, start, end });
    this.changes.setZeros(this.offset(sector) + end - start, count * this.size - (end - start));
  }

  /** Writes the header, the changed sectors of the FAT and its list, and zeros; returns the size of the file. */
  finish(): number {
    const { table } = this.layout.fat;
    const perSector = this.size / 4;
    this.fatSectors.forEach((sector, at) => {
      const [start, end] = [at * perSector, (at + 1) * perSector];
      if (!this.fat.equals(table.next, start, end)) this.write(sector, this.fat.bytes(start, end));
    });
    this.writeList();
    if (!this.header.equals(this.layout.header.bytes)) this.changes.setBytes(0, this.header);
    return this.zeroFreed();
  }

  /** Appends a sector of the FAT, which describes itself first, and if needed one of the list. */
  private growFat(): void {
    const perSector = this.size / 4;
    const sector = this.fat.length;
    if (sector + perSector > MAX_FAT_ENTRIES)
      throw fault(
        this.source,
        'cfb-too-large',
        'it would be larger than a compound file that can be written',
      );
    this.fat.grow(perSector);
    this.fat.set(sector, SECTOR.fat);
    this.fatSectors.push(sector);
    const listed = HEADER_DIFAT + this.difatSectors.length * (perSector - 1);
    if (this.fatSectors.length <= listed) return;
    const list = sector + 1;
    this.fat.set(list, SECTOR.difat);
    this.difatSectors.push(list);
  }

  private isRangeLock(sector: number): boolean {
    const at = this.offset(sector);
    return at <= RANGE_LOCK_AT && RANGE_LOCK_AT < at + this.size;
  }

  /** The FAT sectors, listed in the header and in sectors of their own (MS-CFB section 2.5). */
  private writeList(): void {
    const before = this.layout.fat;
    if (this.fatSectors.length === before.fatSectors.length) return;
    this.header.writeUInt32LE(this.fatSectors.length, FIELD.fatSectors);
    this.fatSectors
      .slice(0, HEADER_DIFAT)
      .forEach((sector, at) => this.header.writeUInt32LE(sector, DIFAT_AT + at * 4));
    const perSector = this.size / 4 - 1;
    this.difatSectors.forEach((sector, at) => {
      const start = HEADER_DIFAT + at * perSector;
      const bytes = Buffer.alloc(this.size, 0xff);
      this.fatSectors
        .slice(start, start + perSector)
        .forEach((each, index) => bytes.writeUInt32LE(each, index * 4));
      bytes.writeUInt32LE(this.difatSectors[at + 1] ?? SECTOR.endOfChain, this.size - 4);
      this.write(sector, bytes);
    });
    const [first] = this.difatSectors;
    if (first !== undefined) this.header.writeUInt32LE(first, FIELD.difatStart);
    this.header.writeUInt32LE(this.difatSectors.length, FIELD.difatSectors);
  }

  /**
   * The size of the file, which ends with the last sector that is in use or was free before. What was in use before and
   * is not any more becomes zero, so that nothing of a removed stream remains.
   */
  private zeroFreed(): number {
    const unused = this.freed.filter((sector) => this.fat.get(sector) === SECTOR.free).sort((a, b) => a - b);
    let count = Math.max(this.layout.sectors.count, this.fat.usedLength);
    for (; unused.at(-1) === count - 1; count -= 1) unused.pop();
    const chain = new SectorChain();
    unused.forEach((sector) => chain.push(sector));
    for (const run of chain.runs()) this.changes.setZeros(this.offset(run.sector), run.count * this.size);
    return count === this.layout.sectors.count ? this.source.size : this.offset(count);
  }
}
