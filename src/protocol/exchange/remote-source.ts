import { invalid } from '../../lib/errors.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { ReadAheadSource, type WindowPolicy } from '../../lib/bytes/read-ahead-source.ts';
import type { FileAttributes, OpenFile } from './exchange.ts';
import { readInOrder, readRanges, REQUEST_SIZE, type ReadAt, type ReadChunk } from './pipelined-io.ts';

/** Reads of this size and more are not kept. In bytes. */
const LARGE = 1024 * 1024;
/**
 * How much of a file's end is read at once, in bytes: a zip keeps its directory there. The directory of about 2,000
 * entries fits, and at 100 Mbit/s the read takes no longer than one round trip across a continent.
 */
const TAIL = 256 * 1024;
/** How much is read ahead when small reads follow each other, in bytes. */
const AHEAD = 4 * REQUEST_SIZE;

/** The last 256 KiB once any of them are read, or the next 1 MB if reads follow each other. */
const tailOrForward =
  (size: number): WindowPolicy =>
  ({ start, end }, previousEnd) => {
    if (end - start >= LARGE) return [];
    const tail = Math.max(0, size - TAIL);
    if (start >= tail) return [{ start: tail, end: size }];
    return [{ start, end: start === previousEnd ? Math.min(size, Math.max(end, start + AHEAD)) : end }];
  };

/** An open file on the exchange. Read ahead, a zip's directory of 4,833 reads takes 5 round trips. */
export class RemoteByteSource implements OpenFile {
  readonly size: number;
  readonly modified: Date;
  private readonly cache: ReadAheadSource;

  constructor(
    readonly name: string,
    { size, modified }: FileAttributes,
    private readonly readAt: ReadAt,
    readonly close: () => Promise<void>,
  ) {
    this.size = size;
    this.modified = modified;
    const read = (offset: number, length: number): Promise<Buffer> => this.readDirectly(offset, length);
    this.cache = new ReadAheadSource({ size, name, read }, tailOrForward(size));
  }

  async read(offset: number, length: number): Promise<Buffer> {
    this.requireRange(offset, length);
    return this.cache.read(offset, length);
  }

  readRanges(ranges: readonly ByteRange[]): AsyncGenerator<ReadChunk> {
    for (const { start, end } of ranges) this.requireRange(start, end - start);
    return readRanges(ranges, this.readAt);
  }

  private requireRange(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && Number.isSafeInteger(offset + length) && offset + length <= this.size)
      return;
    throw invalid(
      'source-out-of-range',
      `${this.name}: bytes ${offset} to ${offset + length} lie outside its ${this.size} bytes`,
    );
  }

  private async readDirectly(offset: number, length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of readInOrder(offset, offset + length, this.readAt)) parts.push(part);
    const [only] = parts;
    return parts.length === 1 && only ? only : Buffer.concat(parts);
  }
}
