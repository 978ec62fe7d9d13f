import type { CompoundLayout } from '../compound-file.ts';
import { FIELD, MINI_SECTOR, SECTOR } from '../header.ts';
import { EditableTable } from './editable-table.ts';
import type { EditedDirectory } from './edited-directory.ts';
import type { EditedSectors } from './edited-sectors.ts';

/** The mini stream of a file that is being changed, and its allocation table. */
export class EditedMiniStream {
  private readonly table: EditableTable;
  private readonly tableChain: number[];
  private readonly chain: number[];
  /** New bytes from the beginning of a mini sector on, by its number; what follows them stays, as ole32 leaves it. */
  private readonly written = new Map<number, Buffer>();
  private hasFreed = false;

  constructor(
    private readonly layout: CompoundLayout,
    private readonly sectors: EditedSectors,
    private readonly directory: EditedDirectory,
  ) {
    this.table = new EditableTable(layout.miniFat);
    this.tableChain = [...layout.miniFatChain.sectors()];
    this.chain = [...layout.miniChain.sectors()];
  }

  /** Stores a small stream in the lowest free mini sectors; returns the first. */
  store(content: Buffer): number {
    let first: number = SECTOR.endOfChain;
    let last: number | undefined;
    for (let at = 0; at < content.length; at += MINI_SECTOR) {
      const sector = this.allocate();
      if (last === undefined) first = sector;
      else this.table.set(last, sector);
      this.write(sector, content.subarray(at, at + MINI_SECTOR));
      last = sector;
    }
    return first;
  }

  /** Frees mini sectors, whose bytes become zero. */
  free(sectors: Iterable<number>): void {
    for (const sector of sectors) {
      this.hasFreed = true;
      this.table.set(sector, SECTOR.free);
      this.written.set(sector, Buffer.alloc(MINI_SECTOR));
    }
  }

  private write(sector: number, bytes: Buffer): void {
    const zeros = this.written.get(sector);
    if (zeros) bytes.copy(zeros);
    else this.written.set(sector, bytes);
  }

  /** Writes what changed, and frees what is no longer needed. */
  async finish(): Promise<void> {
    if (this.written.size === 0) return;
    const size = this.table.usedLength * MINI_SECTOR;
    if (this.hasFreed) this.shrink(size);
    this.directory.setContent(0, this.chain[0] ?? SECTOR.endOfChain, size);
    const perSector = this.sectors.size / 4;
    this.tableChain.forEach((sector, at) => {
      const [start, end] = [at * perSector, (at + 1) * perSector];
      if (!this.table.equals(this.layout.miniFat.next, start, end))
        this.sectors.write(sector, this.table.bytes(start, end));
    });
    await this.writeContent();
  }

  private allocate(): number {
    const taken = this.table.take();
    if (taken === undefined) {
      this.growTable();
      return this.allocate();
    }
    if ((taken + 1) * MINI_SECTOR > this.chain.length * this.sectors.size)
      this.chain.push(this.sectors.allocate(this.chain.at(-1)));
    return taken;
  }

  /** Gives back sectors at the end of mini stream and table in which nothing is in use any more. */
  private shrink(size: number): void {
    this.sectors.cutChain(this.chain, Math.ceil(size / this.sectors.size));
    const length = Math.ceil(this.table.usedLength / (this.sectors.size / 4));
    if (length >= this.tableChain.length) return;
    this.sectors.cutChain(this.tableChain, length);
    this.sectors.header.writeUInt32LE(this.tableChain[0] ?? SECTOR.endOfChain, FIELD.miniFatStart);
    this.sectors.header.writeUInt32LE(length, FIELD.miniFatSectors);
  }

  private growTable(): void {
    const sector = this.sectors.allocate(this.tableChain.at(-1));
    if (this.tableChain.length === 0) this.sectors.header.writeUInt32LE(sector, FIELD.miniFatStart);
    this.tableChain.push(sector);
    this.sectors.header.writeUInt32LE(this.tableChain.length, FIELD.miniFatSectors);
    this.table.grow(this.sectors.size / 4);
  }

  /** Writes whole sectors: what they held before, or zeros, with the new mini sectors. */
  private async writeContent(): Promise<void> {
    const perSector = this.sectors.size / MINI_SECTOR;
    const before = this.layout.miniChain;
    const positions = new Set([...this.written.keys()].map((mini) => Math.floor(mini / perSector)));
    for (let at = before.length; at < this.chain.length; at += 1) positions.add(at);
    for (const position of positions) {
      const sector = this.chain[position];
      if (sector === undefined) continue; // no longer in the mini stream
      const bytes = Buffer.alloc(this.sectors.size);
      if (position < before.length) (await this.readPadded(before.at(position))).copy(bytes);
      for (let mini = 0; mini < perSector; mini += 1)
        this.written.get(position * perSector + mini)?.copy(bytes, mini * MINI_SECTOR);
      this.sectors.write(sector, bytes);
    }
  }

  /** A sector from before, of which the file may hold only the beginning. */
  private readPadded(sector: number): Promise<Buffer> {
    const { source, size } = this.layout.sectors;
    const start = this.sectors.offset(sector);
    return source.read(start, Math.min(size, source.size - start));
  }
}
