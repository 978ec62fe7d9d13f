import { invalid } from '../../lib/errors.ts';
import type { OpenFile, FileAttributes } from './exchange.ts';
import { readAhead, readRuns, REQUEST_SIZE, type Piece, type ReadAt } from './pipelined-io.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';

/** Reads of this size and more are not kept. In bytes. */
const LARGE = 1024 * 1024;
/**
 * How much of a file's end is read at once, in bytes: a zip keeps its directory there. That of some two
 * thousand entries is in it, and at 100 Mbit/s it takes no longer than one round trip across a continent.
 */
const TAIL = 256 * 1024;
/** How much is read ahead when small reads follow each other. */
const AHEAD = 4 * REQUEST_SIZE;

/**
 * Random access to a remote file. One window of it is kept: its last 256 KiB once anything in it is
 * wanted, or what follows when reads come in order. A zip's directory of 4,833 reads then costs 5
 * round trips.
 */
export class RemoteSource implements OpenFile {
  private window: { start: number; bytes: Buffer } = { start: 0, bytes: Buffer.alloc(0) };
  private expected = -1;
  readonly size: number;
  readonly modified: Date;

  constructor(
    readonly name: string,
    { size, modified }: FileAttributes,
    private readonly readAt: ReadAt,
    private readonly release: () => Promise<void>,
  ) {
    this.size = size;
    this.modified = modified;
  }

  close(): Promise<void> {
    return this.release();
  }

  async read(offset: number, length: number): Promise<Buffer> {
    this.requireRange(offset, length);
    const inOrder = offset === this.expected;
    this.expected = offset + length;
    const kept = this.kept(offset, length);
    if (kept) return kept;
    if (length >= LARGE) return this.readDirectly(offset, length);
    const [start, end] = this.windowFor(offset, length, inOrder);
    const bytes = await this.readDirectly(start, end - start);
    this.window = { start, bytes };
    return bytes.subarray(offset - start, offset - start + length);
  }

  readRuns(runs: Iterable<ByteRange>): AsyncGenerator<Piece> {
    const wanted = [...runs];
    for (const { start, end } of wanted) this.requireRange(start, end - start);
    return readRuns(wanted, this.readAt);
  }

  private requireRange(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && Number.isSafeInteger(offset + length) && offset + length <= this.size)
      return;
    throw invalid(
      'source-out-of-range',
      `${this.name}: bytes ${offset} to ${offset + length} lie outside its ${this.size} bytes`,
    );
  }

  private kept(offset: number, length: number): Buffer | null {
    const from = offset - this.window.start;
    if (from < 0 || from + length > this.window.bytes.length) return null;
    return this.window.bytes.subarray(from, from + length);
  }

  private windowFor(offset: number, length: number, inOrder: boolean): [number, number] {
    const tail = Math.max(0, this.size - TAIL);
    if (offset >= tail) return [tail, this.size];
    return [offset, inOrder ? Math.min(this.size, offset + Math.max(length, AHEAD)) : offset + length];
  }

  private async readDirectly(offset: number, length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for await (const part of readAhead(offset, offset + length, this.readAt)) parts.push(part);
    const [only] = parts;
    return parts.length === 1 && only ? only : Buffer.concat(parts);
  }
}
