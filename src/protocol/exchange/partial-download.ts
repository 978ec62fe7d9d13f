import { createHash, type Hash } from 'node:crypto';
import { lstat, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hasCode } from '../../lib/errors.ts';
import { syncFolder, temporaryBeside } from '../../lib/bytes/atomic-file.ts';
import { writeAll } from '../../lib/bytes/read-write-fully.ts';

/** Read at once while hashing again what came in before, in bytes. */
const CHUNK = 1024 * 1024;

/**
 * A file that is coming in. Whoever takes one up owns it under a random name; kept for later it has a name
 * that tells its destination and what it is part of, so that nothing else is ever continued with it.
 */
export class Partial {
  private constructor(
    private readonly file: FileHandle,
    private readonly temporary: string,
    private readonly destination: string,
    private readonly kept: string,
    /** Of all that is in it. */
    readonly hash: Hash,
    /** Bytes in it. */
    public size: number,
  ) {}

  /**
   * Takes up what was kept of the same thing, else begins anew; what was kept of other things under this
   * destination is deleted. `identity` is hex, and the same only for the same bytes.
   */
  static async open(destination: string, identity: string): Promise<Partial> {
    const kept = await sweep(destination, identity);
    const temporary = temporaryBeside(destination);
    const claimed = await claim(kept, temporary);
    const file = await open(temporary, claimed ? 'r+' : 'wx+', 0o644);
    try {
      const { hash, size } = await hashed(file);
      return new Partial(file, temporary, destination, kept, hash, size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async append(bytes: Buffer): Promise<void> {
    const written = writeAll(this.file, bytes, this.size);
    this.hash.update(bytes); // Meanwhile.
    await written;
    this.size += bytes.length;
  }

  /** It is complete: gives it its name, flushed or not. */
  async publish(flushed: boolean): Promise<void> {
    await this.store(this.destination, flushed);
  }

  /** Keeps it for the next one who fetches the same; flushed, so that not even a power cut makes it a lie. */
  async keep(): Promise<void> {
    await this.store(this.kept, true).catch(() => this.discard());
  }

  async discard(): Promise<void> {
    await this.file.close().catch(() => {});
    await rm(this.temporary, { force: true });
  }

  private async store(path: string, flushed: boolean): Promise<void> {
    if (flushed) await this.file.sync();
    await this.file.close();
    await rename(this.temporary, path);
    if (flushed) await syncFolder(dirname(path));
  }
}

/** Deletes what does not belong to `identity`; returns where what does would be. */
async function sweep(destination: string, identity: string): Promise<string> {
  const folder = dirname(destination);
  const prefix = `.${basename(destination)}.`;
  const wanted = `${prefix}${identity}.partial`;
  for (const name of await readdir(folder).catch(() => []))
    if (
      name !== wanted &&
      name.startsWith(prefix) &&
      /^[0-9a-f]{16}\.partial$/.test(name.slice(prefix.length))
    )
      await rm(join(folder, name), { force: true });
  return join(folder, wanted);
}

/** Renames what was kept, which only one caller can; false where there is nothing. */
async function claim(kept: string, temporary: string): Promise<boolean> {
  try {
    if (!(await lstat(kept)).isFile()) return false;
    await rename(kept, temporary);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    throw error;
  }
}

async function hashed(file: FileHandle): Promise<{ hash: Hash; size: number }> {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (let size = 0; ;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, size);
    if (bytesRead === 0) return { hash, size };
    hash.update(buffer.subarray(0, bytesRead));
    size += bytesRead;
  }
}
