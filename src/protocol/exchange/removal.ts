import { link, lstat, opendir, rename, rm, rmdir } from 'node:fs/promises';
import { posix } from 'node:path';
import type { Stats } from 'node:fs';
import { hasCode } from '../../lib/errors.ts';
import { sha256Hex, sha256OfStream } from '../../lib/bytes/hash.ts';
import type { ConfinedFolder } from './confined-folder.ts';
import type { ExpectedFile, ListedEntry, OnProgress } from './exchange.ts';
import { temporaryToken } from './path.ts';
import { remoteHashMatches } from './remote-hash.ts';
import { hasStatus, STATUS, type SftpEntry } from './sftp-channel.ts';
import type { SftpSession } from './sftp-session.ts';

/**
 * Files are removed only if they are what the caller saw: another upload may take the name at any moment. So the file is
 * first moved to a hidden name, looked at there, and moved back if it is another.
 */

/** The hidden name that a file has while it is removed; what a crash leaves is removed a day later. */
const asideOf = (name: string): string => `.${name.slice(0, 200)}.${temporaryToken()}.old`;

const isFolderFile = (stats: Stats, { size, modified }: ExpectedFile): boolean =>
  stats.isFile() && stats.size === size && stats.mtime.getTime() === modified.getTime();

const nullIfMissing = (error: unknown): null => {
  if (hasCode(error, 'ENOENT')) return null;
  throw error;
};

/** The entries of an open folder, at most `limit`; links are not followed. */
export async function listFolder(folder: ConfinedFolder, limit: number): Promise<ListedEntry[]> {
  const entries: ListedEntry[] = [];
  for await (const { name } of await opendir(folder.at('.'))) {
    if (entries.length === limit) break;
    const stats = await lstat(folder.at(name)).catch(nullIfMissing);
    if (!stats) continue;
    const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other';
    entries.push({ name, kind, size: stats.size, modified: stats.mtime });
  }
  return entries;
}

/** The same bytes, which are counted as they are read. */
async function* counted(
  chunks: AsyncIterable<Buffer>,
  size: number,
  onProgress: OnProgress | undefined,
): AsyncGenerator<Buffer> {
  let done = 0;
  for await (const chunk of chunks) {
    yield chunk;
    done += chunk.length;
    onProgress?.(done, size);
  }
}

/** The SHA-256 of a regular file in an open folder; null for anything else, such as a pipe that took its name. */
async function hashIn(
  folder: ConfinedFolder,
  name: string,
  onProgress: OnProgress | undefined,
): Promise<string | null> {
  const handle = await folder.openFile(name);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) return null;
    return stats.size === 0
      ? sha256Hex('')
      : await sha256OfStream(
          counted(handle.createReadStream({ end: stats.size - 1, autoClose: false }), stats.size, onProgress),
        );
  } finally {
    await handle.close();
  }
}

/** Removes a file in an open folder if it is the expected one; returns whether it did. */
export async function removeInFolder(
  folder: ConfinedFolder,
  name: string,
  expected: ExpectedFile,
  onProgress?: OnProgress,
): Promise<boolean> {
  const path = folder.at(name);
  const before = await lstat(path).catch(nullIfMissing);
  if (!before || !isFolderFile(before, expected)) return false;
  if (expected.sha256 !== undefined && (await hashIn(folder, name, onProgress)) !== expected.sha256)
    return false;
  const aside = folder.at(asideOf(name));
  await rename(path, aside);
  const moved = await lstat(aside);
  const isSame = moved.ino === before.ino && isFolderFile(moved, expected);
  // Fails if yet another file has the name: then that one counts.
  if (!isSame) await link(aside, path).catch(() => {});
  await rm(aside);
  return isSame;
}

/** Removes an empty folder; false if it is not empty. */
export async function removeEmptyFolder(folder: ConfinedFolder, name: string): Promise<boolean> {
  return rmdir(folder.at(name)).then(
    () => true,
    () => false,
  );
}

const isRemoteFile = (entry: SftpEntry, { size, modified }: ExpectedFile): boolean =>
  entry.kind === 'file' && entry.size === size && entry.mtime * 1000 === modified.getTime();

async function hasRemoteHash(
  session: SftpSession,
  path: string,
  { size, sha256 }: { readonly size: number; readonly sha256: string },
  onProgress: OnProgress | undefined,
): Promise<boolean> {
  if (await remoteHashMatches((command, ms) => session.run(command, ms), path, { size, sha256 })) return true;
  const handle = await session.open(path, 'r');
  try {
    return (
      (await sha256OfStream(counted(session.blocks(handle, 0, size, path), size, onProgress))) === sha256
    );
  } finally {
    await session.closeHandle(handle).catch(() => {});
  }
}

/** Removes a file on an SFTP server if it is the expected one; returns whether it did. */
export async function removeOverSftp(
  session: SftpSession,
  path: string,
  expected: ExpectedFile,
  onProgress?: OnProgress,
): Promise<boolean> {
  const before = await session.lstat(path).catch((error: unknown) => {
    if (hasStatus(error, STATUS.noSuchFile)) return null;
    throw error;
  });
  if (!before || !isRemoteFile(before, expected)) return false;
  const { size, sha256 } = expected;
  if (sha256 !== undefined && !(await hasRemoteHash(session, path, { size, sha256 }, onProgress)))
    return false;
  const aside = posix.join(posix.dirname(path), asideOf(posix.basename(path)));
  await session.rename(path, aside);
  const isSame = isRemoteFile(await session.lstat(aside), expected);
  if (!isSame) {
    const isBack = await session.rename(aside, path).then(
      () => true,
      () => false,
    );
    if (isBack) return false;
    // Yet another file has the name, and that one counts.
    if (!(await session.isThere(path))) return false;
  }
  await session.remove(aside);
  return isSame;
}

/** The entries of a folder on an SFTP server, at most `limit`; empty if it is missing. */
export async function listOverSftp(
  session: SftpSession,
  path: string,
  limit: number,
): Promise<ListedEntry[]> {
  const entries = await session.readFolder(path, limit).catch((error: unknown) => {
    if (hasStatus(error, STATUS.noSuchFile)) return [];
    throw error;
  });
  return entries
    .filter(({ name }) => name !== '.' && name !== '..')
    .map(({ name, entry: { kind, size, mtime } }) => ({
      name,
      kind,
      size,
      modified: new Date(mtime * 1000),
    }));
}
