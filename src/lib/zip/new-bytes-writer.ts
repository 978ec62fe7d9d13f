import type { FileHandle } from 'node:fs/promises';
import { writeFully } from '../bytes/read-write-fully.ts';

/** Small pieces are gathered to writes of about this size, in bytes. */
const WRITE_SIZE = 1024 * 1024;

/**
 * Takes new bytes from front to back, in large writes to a file, and can fill in a place that was left open. Up to
 * `inMemory` bytes stay in memory: the file is opened only when there are more.
 */
export class NewBytesWriter {
  private pending: Buffer[] = [];
  private pendingSize = 0;
  private written = 0;

  constructor(
    private readonly file: () => Promise<FileHandle>,
    private readonly inMemory: number,
  ) {}

  /** Where the next byte will be. */
  get position(): number {
    return this.written + this.pendingSize;
  }

  async append(bytes: Buffer): Promise<void> {
    this.pending.push(bytes);
    this.pendingSize += bytes.length;
    if (this.pendingSize >= (this.written > 0 ? WRITE_SIZE : this.inMemory || WRITE_SIZE)) await this.flush();
  }

  /** Overwrites bytes that one `append` wrote. */
  async fill(position: number, bytes: Buffer): Promise<void> {
    if (this.fillPending(position, bytes)) return;
    await this.flush();
    await writeFully(await this.file(), bytes, position);
  }

  /** Fills in a place that is not written yet; false if it is written. */
  private fillPending(position: number, bytes: Buffer): boolean {
    let at = this.position;
    for (let index = this.pending.length - 1; index >= 0; index -= 1) {
      const buffer = this.pending[index] ?? Buffer.alloc(0);
      at -= buffer.length;
      if (position < at) continue;
      if (position + bytes.length > at + buffer.length) return false;
      // A copy: the buffer belongs to the caller of `append`.
      const filled = Buffer.from(buffer);
      bytes.copy(filled, position - at);
      this.pending[index] = filled;
      return true;
    }
    return false;
  }

  /** All the bytes, if they are few enough to stay in memory; otherwise null, and the file has all of them. */
  async finish(): Promise<Buffer | null> {
    if (this.inMemory > 0 && this.written === 0) return Buffer.concat(this.pending);
    await this.flush();
    return null;
  }

  private async flush(): Promise<void> {
    const { pending, pendingSize } = this;
    this.pending = [];
    this.pendingSize = 0;
    if (pendingSize === 0) return;
    const file = await this.file();
    const { bytesWritten } = await file.writev(pending, this.written);
    // A partial write is rare: no need to be fast.
    if (bytesWritten < pendingSize) await writeFully(file, Buffer.concat(pending), this.written);
    this.written += pendingSize;
  }
}
