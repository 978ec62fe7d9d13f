import { randomUUID } from 'node:crypto';
import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Run } from '../io/runs.ts';
import { SharedMemory } from '../io/shared-memory.ts';
import { BufferSource, FileSource, type ByteSource } from '../io/source.ts';

/** Unpacked bytes that can be read at random, and their SHA-256 in hex. */
export interface Spooled {
  readonly source: ByteSource;
  readonly sha256: string;
}

/** From this size on, an entry is where other threads can read it too. In bytes. */
const LARGE = 4 * 1024 * 1024;

/** What all the smaller entries in memory may take together. */
const MEMORY = 64 * 1024 * 1024;

/** Of an entry in a file, this much stays in memory too, as long as there is room for it. */
const HEAD = 4096;
const HEADS = 16 * 1024 * 1024;

/** A file whose first bytes are in memory: headers are read in many small pieces, again and again. */
class HeadedSource implements ByteSource {
  readonly size: number;
  readonly name: string;

  constructor(
    private readonly file: FileSource,
    private readonly head: Buffer,
  ) {
    this.size = file.size;
    this.name = file.name;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (offset >= 0 && length >= 0 && offset + length <= this.head.length)
      return this.head.subarray(offset, offset + length);
    return this.file.read(offset, length);
  }

  readInto(target: Buffer, offset: number): Promise<void> {
    return this.file.readInto(target, offset);
  }

  runs(start: number, end: number): Run[] {
    return this.file.runs(start, end);
  }
}

/**
 * Holds unpacked programs while they are signed: in memory as long as there is room, the rest in files
 * that are gone when it is closed. However many programs a zip has, memory stays bounded.
 */
export class Spool {
  private readonly folder: string;
  private readonly files: { path: string; source: FileSource }[] = [];
  private readonly shared = new SharedMemory();
  private inMemory = 0;
  private inHeads = 0;

  /** `folder` must be there; only this process uses what is put in it. */
  constructor(folder: string) {
    this.folder = folder;
  }

  /** Takes in `size` bytes of content under a name for messages. */
  async take(content: AsyncIterable<Buffer>, size: number, name: string): Promise<Spooled> {
    const bytes = size < LARGE ? this.memory(size) : this.shared.take(size);
    if (!bytes) return this.toFile(content, name);
    const hash = createHash('sha256');
    let filled = 0;
    for await (const chunk of content) {
      hash.update(chunk);
      filled += chunk.copy(bytes, filled);
    }
    return { source: new BufferSource(bytes.subarray(0, filled), name), sha256: hash.digest('hex') };
  }

  private memory(size: number): Buffer | null {
    if (this.inMemory + size > MEMORY) return null;
    this.inMemory += size;
    return Buffer.allocUnsafeSlow(size);
  }

  private async toFile(content: AsyncIterable<Buffer>, name: string): Promise<Spooled> {
    const path = join(this.folder, `${randomUUID()}.part`);
    const hash = createHash('sha256');
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const chunk of content) {
        hash.update(chunk);
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
    const source = await FileSource.open(path, name);
    this.files.push({ path, source });
    return { source: await this.withHead(source), sha256: hash.digest('hex') };
  }

  private async withHead(source: FileSource): Promise<ByteSource> {
    if (this.inHeads + HEAD > HEADS) return source;
    this.inHeads += HEAD;
    return new HeadedSource(source, await source.read(0, Math.min(HEAD, source.size)));
  }

  /** Closes and deletes every file, and gives back memory: nothing that was taken may be read any more. */
  async close(): Promise<void> {
    this.shared.release();
    for (const { path, source } of this.files.splice(0)) {
      await source.close();
      await rm(path, { force: true });
    }
  }
}
