import { randomBytes } from 'node:crypto';
import { open, rename, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { writeAll } from './exact.ts';
import { asTemporary, keepTemporary } from './temporaries.ts';

/** A temporary name beside `path`: hidden, and not guessable by whoever shares the folder. */
export function temporaryBeside(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.part`);
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
 * Writes a file so that its final name only ever shows the whole of it: temporary name in the same
 * folder, `fill`, fsync, rename, fsync of the folder. On any error nothing is left behind. `fill` may
 * read what it wrote, and is told the temporary name too.
 */
export async function writeAtomically<T>(
  path: string,
  fill: (file: FileHandle, temporary: string) => Promise<T>,
  options: AtomicOptions = {},
): Promise<T> {
  const temporary = temporaryBeside(path);
  return asTemporary(temporary, async () => {
    const file = await open(temporary, 'wx+', options.mode ?? 0o644);
    try {
      const result = await fill(file, temporary);
      await file.sync();
      await file.close();
      await rename(temporary, path);
      keepTemporary(temporary);
      await syncFolder(dirname(path));
      return result;
    } catch (error) {
      await file.close().catch(() => {});
      throw error;
    }
  });
}

/** The whole of `content` under `path`, or nothing. */
export function writeFileAtomically(
  path: string,
  content: string | Buffer,
  options?: AtomicOptions,
): Promise<void> {
  return writeAtomically(path, (file) => file.writeFile(content), options);
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
        await writeAll(file, chunk, size);
        size += chunk.length;
      }
      return size;
    },
    options,
  );
}
