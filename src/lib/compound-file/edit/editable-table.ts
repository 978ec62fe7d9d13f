import type { AllocationTable } from '../allocation-table.ts';
import { SECTOR } from '../header.ts';

/** An allocation table that is being changed. */
export class EditableTable {
  private values: Uint32Array;
  /** No entry below this one is free. */
  private lowest = 0;
  length: number;

  /** Entries for sectors that do not exist become free, whatever other writers put there. */
  constructor({ next, sectors }: Pick<AllocationTable, 'next' | 'sectors'>) {
    this.values = next.slice();
    this.values.fill(SECTOR.free, sectors);
    this.length = next.length;
  }

  get(index: number): number {
    return this.values[index] ?? SECTOR.free;
  }

  set(index: number, value: number): void {
    this.values[index] = value;
    if (value === SECTOR.free) this.lowest = Math.min(this.lowest, index);
  }

  /** Takes the lowest free entry, which becomes the end of a chain; undefined if none is free. */
  take(): number | undefined {
    while (this.lowest < this.length && this.values[this.lowest] !== SECTOR.free) this.lowest += 1;
    if (this.lowest === this.length) return undefined;
    this.values[this.lowest] = SECTOR.endOfChain;
    return this.lowest;
  }

  /** Appends free entries. */
  grow(count: number): void {
    if (this.length + count > this.values.length) {
      const larger = new Uint32Array(Math.max(this.length + count, this.values.length * 2));
      larger.set(this.values);
      this.values = larger;
    }
    this.values.fill(SECTOR.free, this.length, this.length + count);
    this.length += count;
  }

  /** One more than the highest entry that is not free. */
  get usedLength(): number {
    let length = this.length;
    while (length > 0 && this.values[length - 1] === SECTOR.free) length -= 1;
    return length;
  }

  /** The entries [start, end) as they are stored. */
  bytes(start: number, end: number): Buffer {
    const bytes = Buffer.allocUnsafe((end - start) * 4);
    for (let at = start; at < end; at += 1) bytes.writeUInt32LE(this.get(at), (at - start) * 4);
    return bytes;
  }

  /** Whether the entries [start, end) are those of the table from before. */
  equals(original: Uint32Array, start: number, end: number): boolean {
    if (end > original.length) return false;
    for (let at = start; at < end; at += 1) if (this.values[at] !== original[at]) return false;
    return true;
  }
}
