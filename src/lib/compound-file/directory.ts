import { compareNames } from './entry-names.ts';
import { ENTRY, ENTRY_SIZE, NAME_SIZE, NO_ENTRY, TYPE } from './directory-entry.ts';
import { fault } from './faults.ts';

/** What all entries have in common. */
interface NamedEntry {
  /** Its number in the directory. */
  readonly index: number;
  readonly name: string;
  /** 16 bytes; of streams unused. */
  readonly clsid: Buffer;
  /** State bits, 4 bytes. */
  readonly state: Buffer;
  /** FILETIMEs, 8 bytes each. */
  readonly created: Buffer;
  readonly modified: Buffer;
}

export interface StreamEntry extends NamedEntry {
  readonly kind: 'stream';
  /** In bytes. */
  readonly size: number;
}

/** A folder of streams and other storages; the root of the file is one. */
export interface StorageEntry extends NamedEntry {
  readonly kind: 'storage';
  /** In the order of `compareNames`. */
  readonly children: readonly CompoundEntry[];
}

export type CompoundEntry = StreamEntry | StorageEntry;

/** The most directory entries: 16 MiB of them. */
const MAX_ENTRIES = 128 * 1024;
/** The deepest storage in a storage. */
const MAX_DEPTH = 32;

/** Reads a directory's bytes into trees. */
export class DirectoryReader {
  /** Entries that are part of the tree. */
  readonly used: Uint8Array;
  private readonly count: number;

  constructor(
    private readonly bytes: Buffer,
    private readonly version: 3 | 4,
    private readonly source: { readonly name: string },
  ) {
    this.count = bytes.length / ENTRY_SIZE;
    if (this.count > MAX_ENTRIES)
      throw fault(source, 'cfb-too-large', `a directory of ${this.count} entries`);
    this.used = new Uint8Array(this.count);
  }

  /** The root with everything below it; throws `cfb-directory`. */
  read(): StorageEntry {
    const root = this.entry(0);
    if (root[ENTRY.type] !== TYPE.root) throw this.wrong('the first entry is not the root');
    if (root.readUInt32LE(ENTRY.left) !== NO_ENTRY || root.readUInt32LE(ENTRY.right) !== NO_ENTRY)
      throw this.wrong('the root has siblings');
    this.use(0);
    return this.storage(0, root, 0);
  }

  private storage(index: number, entry: Buffer, depth: number): StorageEntry {
    if (depth > MAX_DEPTH) throw fault(this.source, 'cfb-too-large', 'storages lie too deep in storages');
    const common = this.common(index, entry);
    const children = this.siblings(entry.readUInt32LE(ENTRY.child)).map((child) => this.child(child, depth));
    requireSorted(children, (why) => this.wrong(why));
    return { kind: 'storage', ...common, children };
  }

  private child(index: number, depth: number): CompoundEntry {
    const entry = this.entry(index);
    const type = entry[ENTRY.type];
    if (type === TYPE.storage) return this.storage(index, entry, depth + 1);
    if (type !== TYPE.stream) throw this.wrong(`entry ${index} is neither a storage nor a stream`);
    if (entry.readUInt32LE(ENTRY.child) !== NO_ENTRY)
      throw this.wrong(`entry ${index} is a stream with entries below it`);
    return { kind: 'stream', ...this.common(index, entry), size: this.sizeOf(index) };
  }

  /** The entries of a tree in its order. Each entry is visited once at most, so that this ends. */
  private siblings(top: number): number[] {
    const inOrder: number[] = [];
    const path: number[] = [];
    let next = top;
    while (next !== NO_ENTRY || path.length > 0) {
      while (next !== NO_ENTRY) {
        this.use(next);
        path.push(next);
        next = this.entry(next).readUInt32LE(ENTRY.left);
      }
      const index = path.pop() ?? 0;
      inOrder.push(index);
      next = this.entry(index).readUInt32LE(ENTRY.right);
    }
    return inOrder;
  }

  private use(index: number): void {
    if (index >= this.count) throw this.wrong(`a link leads to entry ${index} of ${this.count}`);
    if (this.used[index] === 1) throw this.wrong(`two links lead to entry ${index}`);
    this.used[index] = 1;
  }

  private common(index: number, entry: Buffer): NamedEntry {
    const part = (at: number, length: number): Buffer => entry.subarray(at, at + length);
    return {
      index,
      name: this.nameOf(index, entry),
      clsid: part(ENTRY.clsid, 16),
      state: part(ENTRY.state, 4),
      created: part(ENTRY.created, 8),
      modified: part(ENTRY.modified, 8),
    };
  }

  private nameOf(index: number, entry: Buffer): string {
    const length = entry.readUInt16LE(ENTRY.nameLength);
    if (length < 4 || length > NAME_SIZE || length % 2 !== 0)
      throw this.wrong(`the name of entry ${index} has ${length} bytes`);
    const name = entry.toString('utf16le', 0, length - 2);
    if (name.includes('\0') || entry.readUInt16LE(length - 2) !== 0)
      throw this.wrong(`the name of entry ${index} does not end where its length says`);
    if ((entry[ENTRY.colour] ?? 0) > 1) throw this.wrong(`entry ${index} is neither red nor black`);
    return name;
  }

  /** Size of a stream, or of the root's mini stream; version 3 uses only the lower half of the field. */
  sizeOf(index: number): number {
    const entry = this.entry(index);
    const low = entry.readUInt32LE(ENTRY.size);
    return this.version === 3 ? low : low + entry.readUInt32LE(ENTRY.size + 4) * 2 ** 32;
  }

  entry(index: number): Buffer {
    return this.bytes.subarray(index * ENTRY_SIZE, (index + 1) * ENTRY_SIZE);
  }

  private wrong(why: string): Error {
    return fault(this.source, 'cfb-directory', `its directory is malformed: ${why}`);
  }
}

/**
 * Windows looks names up in the tree, other readers list it: they see the same only if it is sorted and no name is there
 * twice.
 */
function requireSorted(children: readonly CompoundEntry[], wrong: (why: string) => Error): void {
  children.forEach((each, at) => {
    const before = children[at - 1];
    if (before && compareNames(before.name, each.name) >= 0)
      throw wrong(`entries ${before.index} and ${each.index} are out of order, or have the same name`);
  });
}
