import { SignpipeError } from '../errors.ts';
import type { ByteRange } from './byte-range.ts';

/** A range of an open file. */
interface FileExtent extends ByteRange {
  /** The same number in every thread of the process; stays open until the reader is done. */
  readonly fd: number;
  /** For messages. */
  readonly name: string;
}

/** Bytes in memory. */
export interface MemoryExtent {
  readonly bytes: Uint8Array;
}

/** Where bytes are, as plain data that another thread can read from; never empty. */
export type Extent = FileExtent | MemoryExtent;

/** The error for a file that ends before the size that it had when it was opened. */
export const truncated = (name: string): SignpipeError =>
  new SignpipeError('local', 'file-truncated', `${name}: became shorter while it was read`);
