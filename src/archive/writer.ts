import type { FileHandle } from 'node:fs/promises';
import { chunks, type ByteSource } from '../io/source.ts';

/** Small pieces are gathered to writes of about this size, in bytes. */
const GATHER = 1024 * 1024;

/** Appends to an open file in large writes, and can fill in a place that was left open. */
export class FileWriter {
  private pending: Buffer[] = [];
  private gathered = 0;
  private written = 0;

  constructor(private readonly file: FileHandle) {}

  /** Where the next byte will stand. */
  get position(): number {
    return this.written + this.gathered;
  }

  async append(bytes: Buffer): Promise<void> {
    this.pending.push(bytes);
    this.gathered += bytes.length;
    if (this.gathered >= GATHER) await this.flush();
  }

  /** Copies the bytes [start, end) of a source. */
  async copy(source: ByteSource, start: number, end: number): Promise<void> {
    for await (const chunk of chunks(source, start, end)) await this.append(chunk);
  }

  /** Writes over bytes appended before. */
  async fill(position: number, bytes: Buffer): Promise<void> {
    await this.flush();
    await this.write(bytes, position);
  }

  async flush(): Promise<void> {
    const bytes = this.pending.length === 1 ? this.pending[0] : Buffer.concat(this.pending);
    this.pending = [];
    this.gathered = 0;
    if (!bytes) return;
    await this.write(bytes, this.written);
    this.written += bytes.length;
  }

  private async write(bytes: Buffer, position: number): Promise<void> {
    for (let done = 0; done < bytes.length;)
      done += (await this.file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}
