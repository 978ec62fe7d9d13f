import { randomBytes } from 'node:crypto';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeFully } from './read-write-fully.ts';
import { textChunks } from './text-chunks.ts';
import { keepTemporary, noteTemporary, removeTemporary } from './temp-files.ts';

/** Characters of a name that go into its temporary name, which must not be longer than a file system takes. */
const KEPT_OF_NAME = 40;

/** A temporary name beside `path`: hidden, and not to be guessed by others who can write to the folder. */
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

/** Makes a file that was written, and its name, survive a power cut. */
export async function syncFile(path: string): Promise<void> {
  await sync(path, 'r+');
  await syncFolder(dirname(path));
}

export interface AtomicOptions {
  /** Permission bits of the new file; 0o644 unless given. */
  mode?: number;
}

/**
 * A file whose final name only ever shows the whole of it: made under a temporary name in the same folder when it
 * is first asked for, and published by fsync, rename, fsync of the folder.
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

  /** The file under its temporary name, to write and to read. */
  async open(): Promise<FileHandle> {
    if (this.file) return this.file;
    noteTemporary(this.temporary);
    return (this.file = await open(this.temporary, 'wx+', this.options.mode ?? 0o644));
  }

  /** Gives it its name, where it was made. */
  async publish(): Promise<void> {
    const { file, temporary, path } = this;
    if (!file) return;
    await file.sync();
    await file.close();
    await rename(temporary, path);
    keepTemporary(temporary);
    await syncFolder(dirname(path));
  }

  /** Leaves nothing of it behind. */
  async discard(): Promise<void> {
    await this.file?.close().catch(() => {});
    await removeTemporary(this.temporary);
  }
}

/**
 * Writes a file so that its final name only ever shows the whole of it; see `AtomicFile`. On any error nothing is
 * left behind. `fill` may read what it wrote, and is told the temporary name too.
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

/** The whole of `content` under `path`, or nothing. */
export function writeFileAtomically(
  path: string,
  content: string | Buffer,
  options?: AtomicOptions,
): Promise<void> {
  return writeAtomically(path, (file) => file.writeFile(content), options);
}

/** A long text that comes in pieces under `path`, or nothing. */
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

/** A stream of chunks under `path`, or nothing; `seen` is shown each chunk on its way. */
export function writeStreamAtomically(
  path: string,
  content: AsyncIterable<Buffer>,
  seen: (chunk: Buffer) => void = () => {},
  options?: AtomicOptions,
): Promise<number> {
  return writeAtomically(
    path,
    async (file) => {
      let size = 0;
      for await (const chunk of content) {
        seen(chunk);
        await writeFully(file, chunk, size);
        size += chunk.length;
      }
      return size;
    },
    options,
  );
}
