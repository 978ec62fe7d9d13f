import { randomUUID } from 'node:crypto';
import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { BufferSource, FileSource, type ByteSource } from '../io/source.ts';

/** Unpacked bytes that can be read at random, and their SHA-256 in hex. */
export interface Spooled {
  readonly source: ByteSource;
  readonly sha256: string;
}

/** Up to here an entry stays in memory, if there is room. */
const SMALL = 4 * 1024 * 1024;

/** What all the entries in memory may take together. */
const MEMORY = 64 * 1024 * 1024;

/**
 * Holds unpacked programs while they are signed: small ones in memory, the rest in files that are
 * gone when it is closed. However many programs a zip has, memory stays bounded.
 */
export class Spool {
  private readonly folder: string;
  private readonly files: { path: string; source: FileSource }[] = [];
  private inMemory = 0;

  /** `folder` must be there; only this process uses what is put in it. */
  constructor(folder: string) {
    this.folder = folder;
  }

  /** Takes in `size` bytes of content under a name for messages. */
  async take(content: AsyncIterable<Buffer>, size: number, name: string): Promise<Spooled> {
    if (size > SMALL || this.inMemory + size > MEMORY) return this.toFile(content, name);
    this.inMemory += size;
    const hash = createHash('sha256');
    const parts: Buffer[] = [];
    for await (const chunk of content) {
      hash.update(chunk);
      parts.push(chunk);
    }
    return { source: new BufferSource(Buffer.concat(parts), name), sha256: hash.digest('hex') };
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
    return { source, sha256: hash.digest('hex') };
  }

  /** Closes and deletes every file. */
  async close(): Promise<void> {
    for (const { path, source } of this.files.splice(0)) {
      await source.close();
      await rm(path, { force: true });
    }
  }
}
