import { invalid, type SignpipeError } from '../errors.ts';
import { ConcatenatedSource } from './concatenated-source.ts';
import type { ByteSource } from './byte-source.ts';

/** The bytes [start, end) of the old file (`source`) or of the file that holds the new bytes (`fresh`). */
export interface DeltaSpan {
  readonly from: 'source' | 'fresh';
  readonly start: number;
  readonly end: number;
}

/**
 * A new file as runs of bytes of an old one and of a file with the new bytes: a patch that may be larger
 * than memory, that can be written down, and that can be carried out where only the old file lies.
 */
export interface Delta {
  /** Of the result, in bytes. */
  readonly size: number;
  /** In the order of the result; together they are all of it. */
  readonly spans: readonly DeltaSpan[];
}

/** How many new bytes an assembly has. */
export const freshSizeOf = ({ spans }: Delta): number =>
  spans.reduce((size, { from, end }) => (from === 'fresh' ? Math.max(size, end) : size), 0);

/** A span with its place in the result. */
export interface PlacedDeltaSpan extends DeltaSpan {
  readonly at: number;
}

const isSound = ({ start, end }: DeltaSpan, limit: number): boolean =>
  Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start < end && end <= limit;

const unsound = (why: string): SignpipeError =>
  invalid('assembly-unsound', `a file cannot be put together: ${why}`);

/**
 * The spans with their places, every number checked: none empty, none outside its file, all bytes of
 * the new file used once and in order, and nothing left over. Throws `assembly-unsound`.
 */
export function placeSpans(
  assembly: Delta,
  sizes: { readonly source: number; readonly fresh: number },
): PlacedDeltaSpan[] {
  const placed: PlacedDeltaSpan[] = [];
  let at = 0;
  let fresh = 0;
  for (const span of assembly.spans) {
    if (!isSound(span, sizes[span.from]))
      throw unsound(`bytes ${span.start} to ${span.end} of ${sizes[span.from]}`);
    if (span.from === 'fresh' && span.start !== fresh) throw unsound('new bytes are out of order');
    if (span.from === 'fresh') fresh = span.end;
    placed.push({ ...span, at });
    at += span.end - span.start;
  }
  if (at !== assembly.size) throw unsound(`${at} bytes instead of ${assembly.size}`);
  if (fresh !== sizes.fresh) throw unsound(`${fresh} of ${sizes.fresh} new bytes are used`);
  return placed;
}

/** The result as a source of its own, out of two others. Throws `assembly-unsound`. */
export class AssembledSource extends ConcatenatedSource {
  constructor(assembly: Delta, source: ByteSource, fresh: ByteSource, name: string = source.name) {
    const placed = placeSpans(assembly, { source: source.size, fresh: fresh.size });
    super(
      placed.map(({ from, start, end }) => ({ source: from === 'source' ? source : fresh, start, end })),
      name,
    );
  }
}
