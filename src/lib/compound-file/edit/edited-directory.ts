import type { ByteSource } from '../../bytes/byte-source.ts';
import type { CompoundLayout } from '../compound-file.ts';
import { COLOUR, ENTRY, ENTRY_SIZE, NO_ENTRY, streamEntry, TYPE, unusedEntry } from '../directory-entry.ts';
import { fault } from '../faults.ts';
import { FIELD } from '../header.ts';
import type { EditedSectors } from './edited-sectors.ts';
import { SiblingTree } from './sibling-tree.ts';

/** The most entries that `openCompoundFile` reads. */
const MAX_ENTRIES = 128 * 1024;

/** The directory of a file that is being changed. */
export class EditedDirectory {
  private bytes: Buffer;
  private readonly chain: number[];

  constructor(
    private readonly source: ByteSource,
    private readonly layout: CompoundLayout,
    private readonly sectors: EditedSectors,
  ) {
    this.bytes = Buffer.from(layout.directory);
    this.chain = [...layout.directoryChain.sectors()];
  }

  /** The entry of a stream in a storage, or undefined. */
  find(storage: number, name: string): number | undefined {
    return this.treeOf(storage).nodes.find((index) => this.nameOf(index) === name);
  }

  /** Adds an empty stream in the lowest unused entry; returns its number. */
  addStream(storage: number, name: string): number {
    const index = this.unused();
    streamEntry(name).copy(this.bytes, index * ENTRY_SIZE);
    this.setTree(storage, this.treeOf(storage).insert(index));
    return index;
  }

  /** Removes streams, which were added in this order, from a storage. */
  remove(storage: number, removed: readonly number[]): void {
    this.setTree(storage, this.treeOf(storage).without(removed));
    for (const index of removed) unusedEntry().copy(this.bytes, index * ENTRY_SIZE);
  }

  /** Sets the first sector and the size of a stream, or of the root's mini stream. */
  setContent(index: number, start: number, size: number): void {
    const entry = this.entry(index);
    entry.writeUInt32LE(start, ENTRY.start);
    entry.writeUInt32LE(size % 2 ** 32, ENTRY.size);
    entry.writeUInt32LE(Math.floor(size / 2 ** 32), ENTRY.size + 4);
  }

  setModified(index: number, time: Buffer): void {
    time.copy(this.entry(index), ENTRY.modified);
  }

  /** Gives back sectors at its end in which no entry is in use any more. */
  shrink(): void {
    const perSector = this.sectors.size / ENTRY_SIZE;
    const isUnused = (sector: number): boolean =>
      Array.from({ length: perSector }, (_, at) => sector * perSector + at).every(
        (index) => this.entry(index)[ENTRY.type] === TYPE.unused,
      );
    let length = this.chain.length;
    while (length > 1 && isUnused(length - 1)) length -= 1;
    if (length === this.chain.length) return;
    this.sectors.cutChain(this.chain, length);
    this.bytes = this.bytes.subarray(0, length * this.sectors.size);
    this.setCount();
  }

  finish(): void {
    const { size } = this.sectors;
    this.chain.forEach((sector, at) => {
      const bytes = this.bytes.subarray(at * size, (at + 1) * size);
      if (!bytes.equals(this.layout.directory.subarray(at * size, (at + 1) * size)))
        this.sectors.write(sector, bytes);
    });
  }

  private entry(index: number): Buffer {
    return this.bytes.subarray(index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE);
  }

  private nameOf(index: number): string {
    const entry = this.entry(index);
    return entry.toString('utf16le', 0, entry.readUInt16LE(ENTRY.nameLength) - 2);
  }

  private unused(): number {
    for (let index = 1; index * ENTRY_SIZE < this.bytes.length; index += 1)
      if (this.entry(index)[ENTRY.type] === TYPE.unused) return index;
    return this.grow();
  }

  /** Appends a sector of unused entries; returns the number of the first. */
  private grow(): number {
    const first = this.bytes.length / ENTRY_SIZE;
    const count = this.sectors.size / ENTRY_SIZE;
    if (first + count > MAX_ENTRIES)
      throw fault(this.source, 'cfb-too-large', `a directory of ${first} entries`);
    this.chain.push(this.sectors.allocate(this.chain.at(-1)));
    this.bytes = Buffer.concat([this.bytes, ...Array.from({ length: count }, unusedEntry)]);
    this.setCount();
    return first;
  }

  private setCount(): void {
    if (this.layout.header.version === 4)
      this.sectors.header.writeUInt32LE(this.chain.length, FIELD.directorySectors);
  }

  private treeOf(storage: number): SiblingTree {
    const tree = new SiblingTree((index) => this.nameOf(index));
    tree.top = this.entry(storage).readUInt32LE(ENTRY.child);
    const pending = [tree.top];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node === NO_ENTRY) continue;
      const entry = this.entry(node);
      const [left, right] = [entry.readUInt32LE(ENTRY.left), entry.readUInt32LE(ENTRY.right)];
      tree.put(node, { left, right, red: entry[ENTRY.colour] === COLOUR.red });
      pending.push(left, right);
    }
    return tree;
  }

  private setTree(storage: number, tree: SiblingTree): void {
    this.entry(storage).writeUInt32LE(tree.top, ENTRY.child);
    for (const node of tree.nodes) {
      const entry = this.entry(node);
      entry.writeUInt32LE(tree.left(node), ENTRY.left);
      entry.writeUInt32LE(tree.right(node), ENTRY.right);
      entry[ENTRY.colour] = tree.isRed(node) ? COLOUR.red : COLOUR.black;
    }
  }
}
