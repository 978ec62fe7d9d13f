import { randomBytes } from 'node:crypto';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeFully } from './read-write-fully.ts';
import { textChunks } from './text-chunks.ts';
import { keepTemporary, noteTemporary, removeTemporary } from './temp-files.ts';

/** Characters of a name that its temporary name keeps, so that it is not too long for a file system. */
const KEPT_OF_NAME = 40;

/** A temporary name in the folder of `path`: hidden, and not to be guessed by others who can write to the folder. */
export function temporaryBeside(path: string): string {
  const name = Array.from(basename(path)).slice(0, KEPT_OF_NAME).join('');
  return join(dirname(path), `.${name}.${randomBytes(6).toString('hex')}.part`);
}

async function sync(path: string, mode: 'r' | 'r+'): Promise<void> {
  const handle = await open(path, mode);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes a rename in `folder` survive a power cut. */
export const syncFolder = (folder: string): Promise<void> => sync(folder, 'r');

/** Makes a written file and its name survive a power cut. */
export async function syncFile(path: string): Promise<void> {
  await sync(path, 'r+');
  await syncFolder(dirname(path));
}

interface AtomicOptions {
  /** Permission bits of the new file; 0o644 unless given. */
  mode?: number;
}

/**
 * A file that appears under its final name only when it is complete: it is created under a temporary name in the same
 * folder when it is first opened, and published by fsync, rename and fsync of the folder.
 */
export class AtomicFile {
  readonly temporary: string;
  private file: FileHandle | null = null;

  constructor(
    private readonly path: string,
    private readonly options: AtomicOptions = {},
  ) {
    this.temporary = temporaryBeside(path);
  }

  /** The file under its temporary name, for writing and reading. */
  async open(): Promise<FileHandle> {
    if (this.file) return this.file;
    noteTemporary(this.temporary);
    return (this.file = await open(this.temporary, 'wx+', this.options.mode ?? 0o644));
  }

  /** Gives the file its final name, if it was opened. */
  async publish(): Promise<void> {
    const { file, temporary, path } = this;
    if (!file) return;
    await file.sync();
    await file.close();
    await rename(temporary, path);
    keepTemporary(temporary);
    await syncFolder(dirname(path));
  }

  /** Removes the file. */
  async discard(): Promise<void> {
    await this.file?.close().catch(() => {});
    await removeTemporary(this.temporary);
  }
}

/**
 * Writes a file that appears under its final name only when it is complete; see `AtomicFile`. On an error, the file is
 * removed. `fill` may read what it wrote, and gets the temporary name too.
 */
export async function writeAtomically<T>(
  path: string,
  fill: (file: FileHandle, temporary: string) => Promise<T>,
  options: AtomicOptions = {},
): Promise<T> {
  const atomic = new AtomicFile(path, options);
  try {
    const result = await fill(await atomic.open(), atomic.temporary);
    await atomic.publish();
    return result;
  } catch (error) {
    await atomic.discard();
    throw error;
  }
}

/** Writes `content` to `path` atomically. */
export function writeFileAtomically(
  path: string,
  content: string | Buffer,
  options?: AtomicOptions,
): Promise<void> {
  return writeAtomically(path, (file) => file.writeFile(content), options);
}

/** Writes a long text, given in pieces, to `path` atomically. */
export function writeTextAtomically(
  path: string,
  pieces: Iterable<string>,
  options?: AtomicOptions,
): Promise<void> {
  return writeAtomically(
    path,
    async (file) => {
      for (const text of textChunks(pieces)) await file.appendFile(text);
    },
    options,
  );
}

/** Writes a stream of chunks to `path` atomically, calls `onChunk` with each, and returns the size. */
export function writeStreamAtomically(
  path: string,
  content: AsyncIterable<Buffer>,
  onChunk: (chunk: Buffer) => void = () => {},
  options?: AtomicOptions,
): Promise<number> {
  return writeAtomically(
    path,
    async (file) => {
      let size = 0;
      for await (const chunk of content) {
        onChunk(chunk);
        await writeFully(file, chunk, size);
        size += chunk.length;
      }
      return size;
    },
    options,
  );
}
