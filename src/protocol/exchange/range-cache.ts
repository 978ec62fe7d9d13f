import { open, rm, type FileHandle } from 'node:fs/promises';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { fillFrom, writeAll } from '../../lib/bytes/read-write-fully.ts';
import { firstIndex } from '../../lib/bytes/binary-search.ts';

/** What is kept in memory of one file, in bytes; the rest goes to disk. */
const MEMORY = 64 * 1024 * 1024;

/** Bytes that there is still room for in memory; several may share it. */
export interface Room {
  left: number;
}

export const roomInMemory = (): Room => ({ left: MEMORY });

interface Piece extends ByteRange {
  /** Null when it lies in the file. */
  readonly bytes: Buffer | null;
}

/** The index of the first run that ends behind `offset`; they are in rising order and apart. */
export const indexOfRangeBeyond = (runs: readonly ByteRange[], offset: number): number =>
  firstIndex(runs.length, (index) => (runs[index]?.end ?? 0) > offset);

/**
 * Runs of a file that were brought here, in rising order and apart: in memory as far as that goes, the rest
 * in a local file at its own offsets, which is not made before it is needed.
 */
export class RangeCache {
  private readonly pieces: Piece[] = [];
  private file: FileHandle | null = null;
  /** Bytes held. */
  size = 0;

  /** `path` must not exist yet. */
  constructor(
    private readonly path: string,
    private readonly room = roomInMemory(),
  ) {}

  /** Where the last run ends; 0 before the first. */
  get end(): number {
    return this.pieces.at(-1)?.end ?? 0;
  }

  /** Takes what follows, next to what is held or further on. The bytes are kept, not copied. */
  async append(offset: number, bytes: Buffer): Promise<void> {
    const piece = { start: offset, end: offset + bytes.length };
    if (bytes.length <= this.room.left) {
      this.room.left -= bytes.length;
      this.pieces.push({ ...piece, bytes });
    } else {
      await this.toFile(offset, bytes);
      this.pieces.push({ ...piece, bytes: null });
    }
    this.size += bytes.length;
  }

  /** The bytes [offset, offset + length), or null where not all of them are held. */
  async read(offset: number, length: number): Promise<Buffer | null> {
    if (length === 0) return Buffer.alloc(0);
    const found = this.piecesOf(offset, offset + length);
    if (!found) return null;
    const [only] = found;
    if (found.length === 1 && only?.bytes)
      return only.bytes.subarray(offset - only.start, offset - only.start + length);
    const result = Buffer.allocUnsafe(length);
    await this.fill(result, offset, found);
    return result;
  }

  /** The same into memory of the caller's; false where not all of them are held. */
  async readInto(target: Buffer, offset: number): Promise<boolean> {
    const found = this.piecesOf(offset, offset + target.length);
    if (found) await this.fill(target, offset, found);
    return found !== null;
  }

  private async fill(target: Buffer, offset: number, pieces: readonly Piece[]): Promise<void> {
    const end = offset + target.length;
    for (const piece of pieces) {
      const from = Math.max(offset, piece.start);
      const part = target.subarray(from - offset, Math.min(end, piece.end) - offset);
      if (piece.bytes) piece.bytes.copy(part, 0, from - piece.start);
      else await this.fromFile(part, from);
    }
  }

  /** Lets go of all of it. */
  async close(): Promise<void> {
    this.pieces.length = 0;
    const { file } = this;
    this.file = null;
    if (!file) return;
    await file.close();
    await rm(this.path, { force: true });
  }

  /** Pieces that hold [start, end) without a gap, in order; null when there are none such. */
  private piecesOf(start: number, end: number): Piece[] | null {
    const found: Piece[] = [];
    let reached = start;
    for (let at = indexOfRangeBeyond(this.pieces, start); reached < end; at += 1) {
      const piece = this.pieces[at];
      if (!piece || piece.start > reached) return null;
      found.push(piece);
      reached = piece.end;
    }
    return found;
  }

  private async toFile(offset: number, bytes: Buffer): Promise<void> {
    this.file ??= await open(this.path, 'wx+', 0o600);
    await writeAll(this.file, bytes, offset);
  }

  private async fromFile(target: Buffer, offset: number): Promise<void> {
    if (!this.file || !(await fillFrom(this.file, target, offset)))
      throw new RangeError('a run that was held is not there');
  }
}
