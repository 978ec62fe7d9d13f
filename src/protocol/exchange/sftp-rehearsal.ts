import { posix } from 'node:path';
import { SignpipeError } from '../../lib/errors.ts';
import { settleAll } from '../../lib/concurrency/all-settled.ts';
import type { Rehearsal, RehearseOptions } from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { remotePath, parentFolders, rehearsalNames } from './path.ts';
import { hasStatus, isUnsupported, STATUS } from './sftp-channel.ts';
import type { SftpSession } from './sftp-session.ts';

const CONTENT = Buffer.from('signpipe tries this folder\n');

/** Writes a file as a delivery does; returns whether the server flushed it. */
async function write(session: SftpSession, path: string, name: string): Promise<boolean> {
  const handle = await session.open(path, 'wx');
  let flushed: boolean;
  try {
    await session.write(handle, 0, CONTENT);
    flushed = await session.flush(handle);
  } finally {
    await session.closeHandle(handle);
  }
  const { size } = await session.stat(path);
  if (size !== CONTENT.length) throw failures.wrongSize(name, size, CONTENT.length);
  return flushed;
}

/** Renames as a delivery does; returns whether the server can replace a file in one step. */
async function rename(session: SftpSession, from: string, to: string, name: string): Promise<boolean> {
  if (await session.replace(from, to)) return true;
  await session.rename(from, to).catch((error: unknown) => {
    throw isUnsupported(error) ? failures.noRename(name, error) : error;
  });
  return false;
}

/** Throws if the server never renames, without creating a file: other servers report that the file is missing. */
async function requireRenames(session: SftpSession, from: string, to: string, name: string): Promise<void> {
  await rename(session, from, to, name).catch((error: unknown) => {
    if (error instanceof SignpipeError && error.code === 'exchange-no-rename') throw error;
  });
}

async function tryIn(
  session: SftpSession,
  path: string,
  name: string,
  temporary: string | undefined,
): Promise<Rehearsal> {
  const [first, second] = rehearsalNames(path, temporary);
  // Leftovers of a crash; usually none. A server that denies this would keep the new files, too.
  const [removable] = await settleAll([session.remove(first), session.remove(second)]);
  if (!removable) {
    await requireRenames(session, first, second, name);
    return { written: false, deletes: false, remarks: [], left: null };
  }
  let removed = false;
  try {
    const flushes = await write(session, first, name);
    const replaces = await rename(session, first, second, name);
    const remarks = [
      `fsync ${flushes ? 'offered' : 'not offered'}, posix-rename ${replaces ? 'offered' : 'not offered: a file is replaced in two steps'}`,
    ];
    removed = await session.remove(second);
    const left = removed ? null : posix.join(name, posix.basename(second));
    return { written: true, deletes: removed, remarks, left };
  } finally {
    if (!removed && session.alive)
      for (const each of [first, second]) await session.remove(each).catch(() => {});
  }
}

async function makeFolders(session: SftpSession, root: string, folder: string): Promise<void> {
  // The last of these is the folder itself. Most of them exist.
  for (const each of parentFolders(root, `${folder}/x`)) await session.makeFolder(each).catch(() => {});
  if (!(await session.isThere(remotePath(root, folder)))) throw failures.folderMissing(folder);
}

/** Tries in a folder what a delivery does; see `Exchange.rehearse`. */
export async function rehearseSftp(
  session: SftpSession,
  root: string,
  folder: string,
  { make, temporary }: RehearseOptions,
): Promise<Rehearsal | null> {
  const path = remotePath(root, folder);
  const entry = await session.stat(path).catch((error: unknown) => {
    if (hasStatus(error, STATUS.noSuchFile)) return null;
    throw error;
  });
  if (!entry && !make) return null;
  if (entry && entry.kind !== 'folder') throw failures.notAFolder(folder);
  if (!entry) await makeFolders(session, root, folder);
  return tryIn(session, path, folder, temporary);
}
