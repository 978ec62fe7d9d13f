import { firstIndex } from '../bytes/binary-search.ts';

/**
 * The sectors of a stream in its order, as runs of consecutive ones: a stream in one piece takes one run, one of 300 MB in
 * scattered sectors some megabytes.
 */
export class SectorChain {
  /** First sector of each run. */
  private readonly starts: number[] = [];
  /** Number of sectors before each run. */
  private readonly before: number[] = [];
  /** Number of sectors. */
  length = 0;
  private last = -2;

  get runCount(): number {
    return this.starts.length;
  }

  push(sector: number): void {
    if (sector !== this.last + 1) {
      this.starts.push(sector);
      this.before.push(this.length);
    }
    this.last = sector;
    this.length += 1;
  }

  /** The sector at a position in the chain. */
  at(position: number): number {
    const run = this.runAt(position);
    return (this.starts[run] ?? 0) + position - (this.before[run] ?? 0);
  }

  /** The runs that hold the sectors [from, to) of the chain. */
  *runs(from = 0, to = this.length): Generator<{ sector: number; position: number; count: number }> {
    for (let run = this.runAt(from); run < this.starts.length; run += 1) {
      const first = this.before[run] ?? 0;
      if (first >= to) return;
      const start = Math.max(first, from);
      const end = Math.min(this.before[run + 1] ?? this.length, to);
      if (start < end)
        yield { sector: (this.starts[run] ?? 0) + start - first, position: start, count: end - start };
    }
  }

  /** The sectors, one by one. */
  *sectors(): Generator<number> {
    for (const { sector, count } of this.runs())
      for (let each = sector; each < sector + count; each += 1) yield each;
  }

  private runAt(position: number): number {
    return Math.max(0, firstIndex(this.before.length, (run) => (this.before[run] ?? 0) > position) - 1);
  }
}
