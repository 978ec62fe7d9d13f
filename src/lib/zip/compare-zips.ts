import { invalid, messageOf, type SignpipeError, isInvalid } from '../errors.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { firstDifference } from '../bytes/hash-and-compare.ts';
import { updatedCentralHeader, updatedDescriptor, updatedLocalHeader } from './updated-headers.ts';
import {
  END_FIELDS,
  endBytes,
  LOCATOR_FIELDS,
  movedEnd,
  ZIP64_END_FIELDS,
  type EndRecords,
} from './end-of-central-directory.ts';
import { shown } from './entry-paths.ts';
import { forward, ReadAheadSource } from '../bytes/read-ahead-source.ts';
import { CENTRAL, LOCAL, METHOD, type Fields, type HeaderShape } from './header-fields.ts';
import type { Archive } from './read-zip.ts';
import type { ArchiveEntry } from './local-headers.ts';

/** Start and end of a range. */
type StartAndEnd = readonly [start: number, end: number];

/**
 * Proves that `signed` is `original` with nothing changed but the content of some files: it must be, byte for byte,
 * what `rewriteZip` produces from the original with that content. So entries, their order, headers, names, times,
 * attributes, extra fields, comments, descriptors, bytes between entries and end records are the same; sizes, CRC-32s
 * and offsets are those of the new content; and new compressed data is a deflate stream that fills its place to the
 * last byte and has the content that its header says. It may be compressed in any way, since compressors differ.
 *
 * Returns the entries with changed content, as they were and as they are, in the order of the directory; their content
 * is not compared. Throws `archive-differs`, naming the entry, the structure, the field and the offset.
 */
export async function compareZips(
  original: Archive,
  signed: Archive,
): Promise<[ArchiveEntry, ArchiveEntry][]> {
  const comparison = new ZipComparison(original, signed);
  const changed = await comparison.entries();
  comparison.directory();
  comparison.end();
  return changed.sort(([a], [b]) => a.index - b.index);
}

class ZipComparison {
  private readonly before: ByteSource;
  private readonly after: ByteSource;

  constructor(
    private readonly original: Archive,
    private readonly signed: Archive,
  ) {
    this.before = new ReadAheadSource(original.source, forward(original.source.size));
    this.after = new ReadAheadSource(signed.source, forward(signed.source.size));
  }

  private differs(what: string, cause?: unknown): SignpipeError {
    const { name } = this.signed.source;
    return invalid('archive-differs', `${name}: differs from ${this.original.source.name}: ${what}`, {
      hint: 'do not use this file: more than signatures changed; sign the original again',
      cause,
    });
  }

  /** Compares both files front to back: the bytes before each entry, the entry, then the rest. */
  async entries(): Promise<[ArchiveEntry, ArchiveEntry][]> {
    const { original, signed } = this;
    if (original.entries.length !== signed.entries.length)
      throw this.differs(`${signed.entries.length} entries instead of ${original.entries.length}`);
    const changed: [ArchiveEntry, ArchiveEntry][] = [];
    let before = 0;
    let now = 0;
    for (const [position, a] of original.layout.entries()) {
      const b = signed.layout[position];
      if (!b || a.index !== b.index || a.path !== b.path)
        throw this.differs(`another entry where ${shown(a.path)} should be`);
      const where = `entry ${shown(a.path)}`;
      await this.between(`bytes before ${where}`, [before, a.offset], [now, b.offset]);
      if (await this.isChanged(a, b)) changed.push([a, b]);
      before = a.end;
      now = b.end;
    }
    const ends = [original.end.directoryOffset, signed.end.directoryOffset] as const;
    await this.between('bytes before the directory', [before, ends[0]], [now, ends[1]]);
    return changed;
  }

  private async between(what: string, a: StartAndEnd, b: StartAndEnd): Promise<void> {
    if (a[1] - a[0] !== b[1] - b[0]) throw this.differs(`${what}: ${b[1] - b[0]} instead of ${a[1] - a[0]}`);
    const at = await this.firstDifference(a, b);
    if (at !== undefined) throw this.differs(`${what}: at offset ${b[0] + at}`);
  }

  private firstDifference(
    [start, end]: StartAndEnd,
    [newStart, newEnd]: StartAndEnd,
  ): Promise<number | undefined> {
    return firstDifference(
      [{ source: this.before, start, end }],
      [{ source: this.after, start: newStart, end: newEnd }],
    );
  }

  /** Whether the content differs; the headers must then be those of the new content. */
  private async isChanged(a: ArchiveEntry, b: ArchiveEntry): Promise<boolean> {
    const where = `entry ${shown(a.path)}`;
    const sameLength = a.end - a.offset === b.end - b.offset;
    if (sameLength && sameValues(a, b)) {
      const at = await this.firstDifference([a.offset, a.end], [b.offset, b.end]);
      if (at === undefined) return false;
    }
    this.header(where, LOCAL, updatedLocalHeader(a, b), b.local, b.offset);
    const descriptor = await this.after.read(b.dataEnd, b.end - b.dataEnd);
    this.bytes(`${where}: data descriptor`, [], updatedDescriptor(a, b), descriptor, b.dataEnd);
    await this.requireSoundContent(where, a, b);
    return true;
  }

  /** Only a plain file may have new content, which must be sound to its last byte. */
  private async requireSoundContent(where: string, a: ArchiveEntry, b: ArchiveEntry): Promise<void> {
    const openable = b.method === METHOD.stored || b.method === METHOD.deflated;
    if (a.directory || a.symlink || !openable) throw this.differs(`${where}: data`);
    try {
      for await (const _ of await this.signed.open(b)) continue;
    } catch (error) {
      if (isInvalid(error)) throw this.differs(`${where}: data: ${messageOf(error)}`, error);
      throw error;
    }
  }

  directory(): void {
    let at = this.signed.end.directoryOffset;
    for (const [index, a] of this.original.entries.entries()) {
      const b = this.signed.entries[index];
      if (!b) throw this.differs(`entry ${shown(a.path)} is missing`);
      this.header(`entry ${shown(a.path)}`, CENTRAL, updatedCentralHeader(a, b), b.central, at);
      at += b.central.length;
    }
  }

  end(): void {
    const { end } = this.signed;
    const expected = movedEnd(this.original.end, end.directoryOffset, end.directorySize);
    let at = this.signed.source.size - endBytes(end).length;
    if ((expected.zip64 === null) !== (end.zip64 === null)) throw this.differs('end records: zip64');
    for (const [what, fields, part] of END_PARTS) {
      const bytes = part(end);
      this.bytes(what, fields, part(expected), bytes, at);
      at += bytes.length;
    }
  }

  private header(where: string, shape: HeaderShape, expected: Buffer, actual: Buffer, at: number): void {
    this.bytes(
      `${where}: ${shape.what}`,
      [...shape.fields, ...variable(expected, shape)],
      expected,
      actual,
      at,
    );
  }

  private bytes(what: string, fields: Fields, expected: Buffer, actual: Buffer, at: number): void {
    if (expected.equals(actual)) return;
    const length = Math.min(expected.length, actual.length);
    let place = 0;
    while (place < length && expected[place] === actual[place]) place++;
    const field = fields.find(([, start, size]) => place >= start && place < start + size);
    throw this.differs(`${what}: ${field ? `${field[0]}, ` : ''}at offset ${at + place}`);
  }
}

const NOTHING = Buffer.alloc(0);

/** The end records in the order of the file. */
const END_PARTS: readonly (readonly [what: string, fields: Fields, part: (end: EndRecords) => Buffer])[] = [
  [
    'zip64 end record',
    [...ZIP64_END_FIELDS, ['extensible data', 56, Infinity]],
    (end) => end.zip64?.record ?? NOTHING,
  ],
  ['zip64 locator', LOCATOR_FIELDS, (end) => end.zip64?.locator ?? NOTHING],
  ['end record', [...END_FIELDS, ['archive comment', 22, Infinity]], (end) => end.end],
];

/** The variable parts of a header, as fields. */
function variable(header: Buffer, shape: HeaderShape): Fields {
  const name = header.readUInt16LE(shape.nameLength);
  const extra = header.readUInt16LE(shape.extraLength);
  return [
    ['name', shape.size, name],
    ['extra fields', shape.size + name, extra],
    ['comment', shape.size + name + extra, Infinity],
  ];
}

const sameValues = (a: ArchiveEntry, b: ArchiveEntry): boolean =>
  a.crc32 === b.crc32 && a.size === b.size && a.compressedSize === b.compressedSize;
