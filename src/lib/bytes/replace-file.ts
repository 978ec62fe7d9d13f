import type { Stats } from 'node:fs';
import { chmod, chown, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode, messageOf, SignpipeError } from '../errors.ts';
import { syncFolder } from './atomic-file.ts';
import { writeFully } from './read-write-fully.ts';
import { keepTemporary } from './temp-files.ts';

const CHUNK = 1024 * 1024;
const PERMISSIONS = 0o7777;

export interface ReplaceOptions {
  /** Whether the other names of the file (hard links) are to show the new content too. */
  readonly keepLinks: boolean;
}

/** Gives `made` the owner, group and mode of another file; false if this account may not give it away. */
async function dressLike(made: string, { uid, gid, mode }: Stats): Promise<boolean> {
  const own = await stat(made);
  try {
    if (own.uid !== uid || own.gid !== gid) await chown(made, uid, gid);
  } catch (error) {
    if (!hasCode(error, 'EPERM')) throw error;
    await chmod(made, mode & 0o777);
    return false;
  }
  // After chown, which clears the set-user-id and set-group-id bits.
  await chmod(made, mode & PERMISSIONS);
  return true;
}

async function copyRange(from: FileHandle, to: FileHandle, start: number, end: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(CHUNK);
  for (let at = start; at < end;) {
    const { bytesRead } = await from.read(buffer, 0, Math.min(CHUNK, end - at), at);
    if (bytesRead === 0) throw new Error('the new file was cut short while it was copied');
    await writeFully(to, buffer.subarray(0, bytesRead), at);
    at += bytesRead;
  }
}

/** Makes room first, behind the old content, so that a full disk leaves the file as it was. */
async function grow(from: FileHandle, to: FileHandle, old: number, size: number): Promise<void> {
  try {
    await copyRange(from, to, old, size);
    await to.sync();
  } catch (error) {
    await to.truncate(old).catch(() => {});
    throw error;
  }
}

/** Writes the content of `made` into the file at `target`, which stays the same file. */
async function overwrite(made: string, target: string): Promise<void> {
  const from = await open(made, 'r');
  try {
    const to = await open(target, 'r+');
    try {
      const [{ size }, { size: old }] = [await from.stat(), await to.stat()];
      await grow(from, to, old, size);
      // From here on only `made` is whole, so it outlives this process if that is stopped.
      keepTemporary(made);
      await copyRange(from, to, 0, Math.min(old, size)).catch((error: unknown) => {
        throw unfinished(made, target, error);
      });
      await to.truncate(size);
      await to.sync();
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
  await rm(made);
}

const unfinished = (made: string, target: string, error: unknown): SignpipeError =>
  new SignpipeError(
    'local',
    'replace-unfinished',
    `${target}: damaged while it was written: ${messageOf(error)}`,
    {
      hint: `the whole new content is in ${made}: copy it over`,
      cause: error,
    },
  );

/**
 * Puts the finished file `made`, which lies in the same folder, in the place of the plain file `target`. Mode and
 * owner stay. Other names of the file are kept by writing into it; so is a file whose owner this account cannot give
 * to a new one. In all other cases `target` shows the old content or the new, never a part. ACLs and extended
 * attributes of a file that is replaced are lost.
 *
 * Throws `replace-unfinished` (local) if writing fails halfway; `made` is left for that, and removed otherwise.
 */
export async function replaceFile(
  made: string,
  target: string,
  { keepLinks }: ReplaceOptions,
): Promise<void> {
  const old = await stat(target);
  if (keepLinks && old.nlink > 1) return overwrite(made, target);
  if (!(await dressLike(made, old)) && keepLinks) return overwrite(made, target);
  await rename(made, target);
  keepTemporary(made);
  await syncFolder(dirname(target));
}

/** Gives the finished file `made` the name `path`, where nothing is yet, in the same folder. */
export async function moveInto(made: string, path: string): Promise<void> {
  await rename(made, path);
  keepTemporary(made);
  await syncFolder(dirname(path));
}
