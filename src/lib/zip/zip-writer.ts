import type { FileHandle } from 'node:fs/promises';
import { DeltaBuilder, type Delta } from '../bytes/delta.ts';
import { writeAll } from '../bytes/read-write-fully.ts';
import { scan } from '../bytes/read-chunks.ts';
import { chunks, type ByteSource } from '../bytes/byte-source.ts';

/** Small pieces are gathered to writes of about this size, in bytes. */
const GATHER = 1024 * 1024;

/** Takes a new archive from front to back. */
export interface ArchiveWriter {
  /** Where the next byte will stand. */
  readonly position: number;
  append(bytes: Buffer): Promise<void>;
  /** Takes over the bytes [start, end) of a source, the same one each time. */
  copy(source: ByteSource, start: number, end: number): Promise<void>;
  /** Writes over bytes that one `append` brought. */
  fill(position: number, bytes: Buffer): Promise<void>;
}

/**
 * Appends to a file in large writes, and can fill in a place that was left open. The file is asked for when
 * something is to be written: `gather` bytes and more.
 */
export class FileWriter implements ArchiveWriter {
  private pending: Buffer[] = [];
  private gathered = 0;
  private written = 0;

  constructor(
    private readonly file: () => Promise<FileHandle>,
    private readonly gather = GATHER,
  ) {}

  get position(): number {
    return this.written + this.gathered;
  }

  async append(bytes: Buffer): Promise<void> {
    this.pending.push(bytes);
    this.gathered += bytes.length;
    if (this.gathered >= this.gather) await this.flush();
  }

  async copy(source: ByteSource, start: number, end: number): Promise<void> {
    if (end - start < GATHER) {
      for await (const chunk of chunks(source, start, end)) await this.append(chunk);
      return;
    }
    await this.flush();
    const file = await this.file();
    // Written before the next chunk is asked for, as `scan` wants it.
    for await (const chunk of scan(source, start, end)) {
      await writeAll(file, chunk, this.written);
      this.written += chunk.length;
    }
  }

  async fill(position: number, bytes: Buffer): Promise<void> {
    if (this.fillPending(position, bytes)) return;
    await this.flush();
    await writeAll(await this.file(), bytes, position);
  }

  /** Fills in a place that is not written yet; false when there is none such. */
  private fillPending(position: number, bytes: Buffer): boolean {
    let at = this.position;
    for (let index = this.pending.length - 1; index >= 0; index -= 1) {
      const held = this.pending[index] ?? Buffer.alloc(0);
      at -= held.length;
      if (position < at) continue;
      if (position + bytes.length > at + held.length) return false;
      // A copy: the buffer is whoever's appended it.
      const filled = Buffer.from(held);
      bytes.copy(filled, position - at);
      this.pending[index] = filled;
      return true;
    }
    return false;
  }

  async flush(): Promise<void> {
    const { pending, gathered } = this;
    this.pending = [];
    this.gathered = 0;
    if (gathered === 0) return;
    const file = await this.file();
    const { bytesWritten } = await file.writev(pending, this.written);
    // Not all at once: rare, and nothing to be fast at.
    if (bytesWritten < gathered) await writeAll(file, Buffer.concat(pending), this.written);
    this.written += gathered;
  }

  /** All that was appended, where nothing of it was written; else null. */
  get unwritten(): Buffer | null {
    return this.written === 0 ? Buffer.concat(this.pending) : null;
  }
}

/** Writes only the new bytes of the archive, to `fresh`, and records where the others come from. */
export class DeltaWriter implements ArchiveWriter {
  private readonly builder = new DeltaBuilder();

  constructor(private readonly fresh: FileWriter) {}

  get position(): number {
    return this.builder.size;
  }

  async append(bytes: Buffer): Promise<void> {
    await this.fresh.append(bytes);
    this.builder.insert(bytes.length);
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async copy(_source: ByteSource, start: number, end: number): Promise<void> {
    this.builder.copy({ start, end });
  }

  async fill(position: number, bytes: Buffer): Promise<void> {
    await this.fresh.fill(this.builder.freshOffsetOf(position), bytes);
  }

  /** The archive as far as it was written. */
  get delta(): Delta {
    return this.builder.delta;
  }
}
