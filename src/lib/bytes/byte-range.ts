/** The bytes [start, end) of a file or of other bytes. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}
