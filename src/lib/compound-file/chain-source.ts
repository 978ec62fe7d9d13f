import type { ByteSource } from '../bytes/byte-source.ts';
import type { Extent } from '../bytes/extents.ts';
import type { SectorChain } from './sector-chain.ts';

/** A stream in more pieces than this is not handed to another thread, which would copy a list of them all. */
const MOST_EXTENTS = 4096;

/** Where the sectors of a chain are. */
export interface SectorSpace {
  /** Holds the sectors. */
  readonly source: ByteSource;
  /** Bytes of a sector. */
  readonly sectorSize: number;
  /** Bytes before sector 0. */
  readonly start: number;
}

/** The bytes of a chain of sectors, of which the last may be used only in part. */
export class ChainSource implements ByteSource {
  constructor(
    private readonly space: SectorSpace,
    private readonly chain: SectorChain,
    readonly size: number,
    readonly name: string,
  ) {}

  async read(offset: number, length: number): Promise<Buffer> {
    const [first, second] = [...this.ranges(offset, offset + length, 2)];
    if (first && !second) return this.space.source.read(first.start, length);
    const target = Buffer.allocUnsafe(length);
    await this.readInto(target, offset);
    return target;
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    const { source } = this.space;
    let done = 0;
    for (const { start, end } of this.ranges(offset, offset + target.length)) {
      const part = target.subarray(done, done + end - start);
      if (source.readInto) await source.readInto(part, start);
      else (await source.read(start, part.length)).copy(part);
      done += part.length;
    }
  }

  extents(start: number, end: number): Extent[] | null {
    if (this.chain.runCount > MOST_EXTENTS) return null;
    const extents: Extent[] = [];
    for (const range of this.ranges(start, end)) {
      const some = this.space.source.extents?.(range.start, range.end);
      if (!some) return null;
      for (const each of some) extents.push(each);
    }
    return extents;
  }

  /** The ranges of the underlying source that hold [from, to); at most `most`. */
  *ranges(from = 0, to = this.size, most = Infinity): Generator<{ start: number; end: number }> {
    if (from < 0 || to < from || to > this.size)
      throw new RangeError(`${this.name}: read outside of its ${this.size} bytes`);
    const { sectorSize, start } = this.space;
    let count = 0;
    for (const run of this.chain.runs(Math.floor(from / sectorSize), Math.ceil(to / sectorSize))) {
      const shift = start + (run.sector - run.position) * sectorSize;
      const range = {
        start: shift + Math.max(from, run.position * sectorSize),
        end: shift + Math.min(to, (run.position + run.count) * sectorSize),
      };
      if (range.start < range.end) yield range;
      count += 1;
      if (count === most) return;
    }
  }
}
