import { ConcatenatedSource, type SourceRange } from '../../bytes/concatenated-source.ts';
import { BufferSource, type ByteSource } from '../../bytes/byte-source.ts';
import { DeltaBuilder } from '../../bytes/delta.ts';
import { PatchedSource } from '../../bytes/patched-source.ts';

/** New bytes at an offset of the file. */
interface NewBytes extends SourceRange {
  readonly at: number;
}

const ZEROS = new BufferSource(Buffer.alloc(64 * 1024), 'zeros');

/** Collects what changes in a file, by offset, and describes the result as a delta. */
export class FileChanges {
  private readonly changes: NewBytes[] = [];

  /** Sets the bytes from `at` on to those of a range; offsets are set once at most. */
  set(at: number, range: SourceRange): void {
    if (range.start < range.end) this.changes.push({ at, ...range });
  }

  setBytes(at: number, bytes: Buffer): void {
    this.set(at, { source: new BufferSource(bytes, 'new bytes'), start: 0, end: bytes.length });
  }

  setZeros(at: number, length: number): void {
    for (let done = 0; done < length; done += ZEROS.size)
      this.set(at + done, { source: ZEROS, start: 0, end: Math.min(ZEROS.size, length - done) });
  }

  /** The file of `size` bytes that results; what lies between the old end and changes is zero. */
  apply(source: ByteSource, size: number): PatchedSource {
    const delta = new DeltaBuilder();
    const fresh: SourceRange[] = [];
    const insert = (range: SourceRange): void => {
      delta.insert(range.end - range.start);
      fresh.push(range);
    };
    const keep = (end: number): void => {
      if (delta.size < Math.min(end, source.size))
        delta.copy({ start: delta.size, end: Math.min(end, source.size) });
      while (delta.size < end)
        insert({ source: ZEROS, start: 0, end: Math.min(ZEROS.size, end - delta.size) });
    };
    for (const { at, ...range } of this.changes.sort((one, other) => one.at - other.at)) {
      keep(at);
      insert(range);
    }
    keep(size);
    return new PatchedSource(source, delta.delta, new ConcatenatedSource(fresh, source.name));
  }
}
