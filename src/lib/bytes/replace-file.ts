import type { Stats } from 'node:fs';
import { chmod, chown, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode, messageOf, SignpipeError } from '../errors.ts';
import { syncFolder } from './atomic-file.ts';
import { writeFully } from './read-write-fully.ts';
import { keepTemporary } from './temp-files.ts';

const CHUNK = 1024 * 1024;
const PERMISSIONS = 0o7777;

interface ReplaceOptions {
  /** Whether the other names of the file (hard links) get the new content too. */
  readonly keepLinks: boolean;
}

/** Gives `newFile` the owner, group and mode of another file; false if this account may not change the owner. */
async function copyOwnership(newFile: string, { uid, gid, mode }: Stats): Promise<boolean> {
  const stats = await stat(newFile);
  try {
    if (stats.uid !== uid || stats.gid !== gid) await chown(newFile, uid, gid);
  } catch (error) {
    if (!hasCode(error, 'EPERM')) throw error;
    await chmod(newFile, mode & 0o777);
    return false;
  }
  // After chown, which clears the set-user-id and set-group-id bits.
  await chmod(newFile, mode & PERMISSIONS);
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

/** First writes the part beyond the old size, so that a full disk leaves the file unchanged. */
async function grow(from: FileHandle, to: FileHandle, old: number, size: number): Promise<void> {
  try {
    await copyRange(from, to, old, size);
    await to.sync();
  } catch (error) {
    await to.truncate(old).catch(() => {});
    throw error;
  }
}

/** Writes the content of `newFile` into the file at `target`, which stays the same file. */
async function overwrite(newFile: string, target: string): Promise<void> {
  const from = await open(newFile, 'r');
  try {
    const to = await open(target, 'r+');
    try {
      const [{ size }, { size: old }] = [await from.stat(), await to.stat()];
      await grow(from, to, old, size);
      // From here on only `newFile` is complete, so it is kept if this process is stopped.
      keepTemporary(newFile);
      await copyRange(from, to, 0, Math.min(old, size)).catch((error: unknown) => {
        throw unfinished(newFile, target, error);
      });
      await to.truncate(size);
      await to.sync();
    } finally {
      await to.close();
    }
  } finally {
    await from.close();
  }
  await rm(newFile);
}

const unfinished = (newFile: string, target: string, error: unknown): SignpipeError =>
  new SignpipeError(
    'local',
    'replace-unfinished',
    `${target}: damaged while it was overwritten: ${messageOf(error)}`,
    {
      hint: `the complete new content is in ${newFile}: copy it to this file`,
      cause: error,
    },
  );

/**
 * Replaces the plain file `target` by the complete file `newFile` in the same folder; mode and owner stay. To keep hard
 * links, or an owner that this account cannot set, the content is written into the old file. In all other cases `target`
 * has the old content or the new, never a part. ACLs and extended attributes of a replaced file are lost.
 *
 * Throws `replace-unfinished` (local) if writing fails halfway; then `newFile` is kept, and otherwise removed.
 */
export async function replaceFile(
  newFile: string,
  target: string,
  { keepLinks }: ReplaceOptions,
): Promise<void> {
  const old = await stat(target);
  if (keepLinks && old.nlink > 1) return overwrite(newFile, target);
  if (!(await copyOwnership(newFile, old)) && keepLinks) return overwrite(newFile, target);
  await rename(newFile, target);
  keepTemporary(newFile);
  await syncFolder(dirname(target));
}

/** Gives the complete file `newFile` the unused name `path` in the same folder. */
export async function moveInto(newFile: string, path: string): Promise<void> {
  await rename(newFile, path);
  keepTemporary(newFile);
  await syncFolder(dirname(path));
}
