/** The bytes [start, end) of a file or of other bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The offset of a byte that is given by its position in several ranges, one after another. */
export function offsetIn(ranges: readonly ByteRange[], position: number): number {
  let rest = position;
  for (const { start, end } of ranges) {
    if (rest < end - start) return start + rest;
    rest -= end - start;
  }
  throw new RangeError('the position is behind the last range');
}
