import { firstIndex } from './binary-search.ts';
import type { ByteRange } from './byte-range.ts';
import type { Extent } from './extents.ts';
import type { ByteSource } from './byte-source.ts';

/** A range of a source. */
export interface SourceRange extends ByteRange {
  readonly source: ByteSource;
}

/** All of a source. */
export const whole = (source: ByteSource): SourceRange => ({ source, start: 0, end: source.size });

interface PlacedRange extends SourceRange {
  /** The offset of its first byte in the concatenation. */
  readonly at: number;
}

/** Ranges of other sources, one after another, as one source. */
export class ConcatenatedSource implements ByteSource {
  readonly size: number;
  private readonly placed: readonly PlacedRange[];

  constructor(
    ranges: readonly SourceRange[],
    readonly name: string,
  ) {
    const placed: PlacedRange[] = [];
    let at = 0;
    for (const { source, start, end } of ranges) {
      if (start < end) placed.push({ source, start, end, at });
      at += end - start;
    }
    this.size = at;
    this.placed = placed;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const [only, ...others] = this.rangesOf(offset, offset + length);
    if (only && others.length === 0) return only.source.read(only.start, length);
    const result = Buffer.allocUnsafe(length);
    await this.readInto(result, offset);
    return result;
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    let done = 0;
    for (const { source, start, end } of this.rangesOf(offset, offset + target.length)) {
      const part = target.subarray(done, done + end - start);
      if (source.readInto) await source.readInto(part, start);
      else (await source.read(start, part.length)).copy(part);
      done += part.length;
    }
  }

  extents(start: number, end: number): Extent[] | null {
    const extents: Extent[] = [];
    for (const part of this.rangesOf(start, end)) {
      const some = part.source.extents?.(part.start, part.end);
      if (!some) return null;
      for (const each of some) extents.push(each);
    }
    return extents;
  }

  /** The ranges of other sources that make up [start, end). */
  private rangesOf(start: number, end: number): SourceRange[] {
    if (start < 0 || end < start || end > this.size)
      throw new RangeError(`${this.name}: read outside of its ranges`);
    const ranges: SourceRange[] = [];
    for (let index = this.indexAt(start); index < this.placed.length; index += 1) {
      const part = this.placed[index];
      if (!part || part.at >= end) break;
      const from = Math.max(part.start, part.start + start - part.at);
      ranges.push({ source: part.source, start: from, end: Math.min(part.end, part.start + end - part.at) });
    }
    return ranges;
  }

  /** The index of the range that holds `offset`; a binary search, since a zip may have many ranges. */
  private indexAt(offset: number): number {
    return firstIndex(this.placed.length, (index) => (this.placed[index + 1]?.at ?? Infinity) > offset);
  }
}
