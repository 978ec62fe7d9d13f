import { invalid, type SignpipeError } from '../errors.ts';
import type { ByteRange } from './byte-range.ts';

/** A range of the old file (`source`) or of the new bytes (`fresh`). */
export interface DeltaSpan extends ByteRange {
  readonly from: 'source' | 'fresh';
}

/**
 * Describes a new file as ranges of an old file and ranges of new bytes, which lie in memory or in a file of their
 * own. It can be larger than memory, can be written to a journal, and can be applied on the host of the old file.
 */
export interface Delta {
  /** Size of the new file in bytes. */
  readonly size: number;
  /** In the order of the new file, without gaps. */
  readonly spans: readonly DeltaSpan[];
}

/** A span with its offset in the new file. */
export interface PlacedDeltaSpan extends DeltaSpan {
  readonly at: number;
}

/** Builds a delta from the beginning of the new file to its end. */
export class DeltaBuilder {
  private readonly spans: DeltaSpan[] = [];
  private freshSize = 0;
  /** Size of the new file so far. */
  size = 0;

  /** Appends a range of the old file. */
  copy({ start, end }: ByteRange): void {
    this.add({ from: 'source', start, end });
  }

  /** Appends the next `length` new bytes. */
  insert(length: number): void {
    const start = this.freshSize;
    this.freshSize += length;
    this.add({ from: 'fresh', start, end: this.freshSize });
  }

  /** The delta of what has been appended so far. */
  get delta(): Delta {
    return { size: this.size, spans: [...this.spans] };
  }

  private add(span: DeltaSpan): void {
    if (span.start === span.end) return;
    const last = this.spans.at(-1);
    if (last && last.from === span.from && last.end === span.start)
      this.spans[this.spans.length - 1] = { ...last, end: span.end };
    else this.spans.push(span);
    this.size += span.end - span.start;
  }
}

/** The number of new bytes that a delta refers to. */
export const freshSizeOf = ({ spans }: Delta): number =>
  spans.reduce((size, { from, end }) => (from === 'fresh' ? Math.max(size, end) : size), 0);

/** The longest range that has the same bytes at the same offset in the old file and in the new one. */
export function unchangedRange({ spans }: Delta): ByteRange {
  let longest = { start: 0, end: 0 };
  let at = 0;
  for (const { from, start, end } of spans) {
    if (from === 'source' && start === at && end - start > longest.end - longest.start)
      longest = { start, end };
    at += end - start;
  }
  return longest;
}

const isSound = ({ start, end }: DeltaSpan, limit: number): boolean =>
  Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start < end && end <= limit;

const unsound = (why: string): SignpipeError =>
  invalid('assembly-unsound', `a file cannot be put together: ${why}`);

/**
 * The spans of a delta with their offsets, after every number has been checked: no span is empty or outside its
 * file, and the new bytes are used completely, once and in order. Throws `assembly-unsound`.
 */
export function placeSpans(
  { size, spans }: Delta,
  sizes: { readonly source: number; readonly fresh: number },
): PlacedDeltaSpan[] {
  const placed: PlacedDeltaSpan[] = [];
  let at = 0;
  let fresh = 0;
  for (const span of spans) {
    if (!isSound(span, sizes[span.from]))
      throw unsound(`bytes ${span.start} to ${span.end} of ${sizes[span.from]}`);
    if (span.from === 'fresh' && span.start !== fresh) throw unsound('new bytes are out of order');
    if (span.from === 'fresh') fresh = span.end;
    placed.push({ ...span, at });
    at += span.end - span.start;
  }
  if (at !== size) throw unsound(`${at} bytes instead of ${size}`);
  if (fresh !== sizes.fresh) throw unsound(`${fresh} of ${sizes.fresh} new bytes are used`);
  return placed;
}
