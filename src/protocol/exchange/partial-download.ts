import { createHash, type Hash } from 'node:crypto';
import { lstat, open, readdir, rename, rm, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { hasCode } from '../../lib/errors.ts';
import { syncFolder, temporaryBeside } from '../../lib/bytes/atomic-file.ts';
import { writeFully } from '../../lib/bytes/read-write-fully.ts';

/** Bytes read at once to hash an earlier download's bytes again. */
const CHUNK = 1024 * 1024;

/**
 * A download in progress: not a read cache, but a file that becomes the destination. While it is written it has a
 * random name, so that only one process owns it. Kept for later, its name holds the destination and an identity of
 * the content, so that only the same download resumes it.
 */
export class PartialDownload {
  private constructor(
    private readonly file: FileHandle,
    private readonly temporary: string,
    private readonly destination: string,
    private readonly keptPath: string,
    /** The hash of its bytes. */
    readonly hash: Hash,
    /** Its size in bytes. */
    public size: number,
  ) {}

  /**
   * Resumes a kept download with the same identity, or begins a new one; kept downloads of this destination with
   * another identity are deleted. `identity` is hex and must differ for different content.
   */
  static async open(destination: string, identity: string): Promise<PartialDownload> {
    const keptPath = await deleteOthers(destination, identity);
    const temporary = temporaryBeside(destination);
    const resumed = await claim(keptPath, temporary);
    const file = await open(temporary, resumed ? 'r+' : 'wx+', 0o644);
    try {
      const { hash, size } = await hashed(file);
      return new PartialDownload(file, temporary, destination, keptPath, hash, size);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  async append(bytes: Buffer): Promise<void> {
    const written = writeFully(this.file, bytes, this.size);
    this.hash.update(bytes); // While it is written.
    await written;
    this.size += bytes.length;
  }

  /** Renames the complete file to its destination, flushed to disk or not. */
  async publish(flushed: boolean): Promise<void> {
    await this.store(this.destination, flushed);
  }

  /** Keeps it for a later download of the same content; flushed, so that its size is right even after a power cut. */
  async keep(): Promise<void> {
    await this.store(this.keptPath, true).catch(() => this.discard());
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

/** Deletes kept downloads with another identity; returns the path for this one. */
async function deleteOthers(destination: string, identity: string): Promise<string> {
  const folder = dirname(destination);
  const prefix = `.${basename(destination)}.`;
  const keptName = `${prefix}${identity}.partial`;
  for (const name of await readdir(folder).catch(() => []))
    if (
      name !== keptName &&
      name.startsWith(prefix) &&
      /^[0-9a-f]{16}\.partial$/.test(name.slice(prefix.length))
    )
      await rm(join(folder, name), { force: true });
  return join(folder, keptName);
}

/** Takes a kept download by renaming it, which only one process can; false if there is none. */
async function claim(keptPath: string, temporary: string): Promise<boolean> {
  try {
    if (!(await lstat(keptPath)).isFile()) return false;
    await rename(keptPath, temporary);
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
