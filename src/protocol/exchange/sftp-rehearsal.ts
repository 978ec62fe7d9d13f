import { posix } from 'node:path';
import { SignpipeError } from '../../lib/errors.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import type { Rehearsal, RehearseOptions } from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { below, foldersOf, rehearsalNames } from './path.ts';
import { hasStatus, isUnsupported, STATUS } from './sftp-channel.ts';
import type { SftpSession } from './sftp-session.ts';

const CONTENT = Buffer.from('signpipe tries this folder\n');

/** Writes a file as a delivery would; whether the server flushed it. */
async function write(session: SftpSession, place: string, name: string): Promise<boolean> {
  const handle = await session.open(place, 'wx');
  let flushed: boolean;
  try {
    await session.write(handle, 0, CONTENT);
    flushed = await session.flush(handle);
  } finally {
    await session.closeHandle(handle);
  }
  const { size } = await session.stat(place);
  if (size !== CONTENT.length)
    throw failures.verifyFailed(name, `${size} bytes instead of ${CONTENT.length}`);
  return flushed;
}

/** Renames as a delivery would; whether over an existing file in one step. */
async function rename(session: SftpSession, from: string, to: string, name: string): Promise<boolean> {
  if (await session.replace(from, to)) return true;
  await session.rename(from, to).catch((error: unknown) => {
    throw isUnsupported(error) ? failures.noRename(name, error) : error;
  });
  return false;
}

/** Refuses a server that renames nothing, without a trace: others answer that the file is not there. */
async function requireRenames(session: SftpSession, from: string, to: string, name: string): Promise<void> {
  await rename(session, from, to, name).catch((error: unknown) => {
    if (error instanceof SignpipeError && error.code === 'exchange-no-rename') throw error;
  });
}

async function tryIn(
  session: SftpSession,
  place: string,
  name: string,
  temporary: string | undefined,
): Promise<Rehearsal> {
  const [first, second] = rehearsalNames(place, temporary);
  // What a crash left, as a rule nothing. A server that deletes nothing would keep what is written here, too.
  const [clear] = await settleAll([session.remove(first), session.remove(second)]);
  if (!clear) {
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
  // The last of these is the folder itself. Most exist.
  for (const each of foldersOf(root, `${folder}/x`)) await session.makeFolder(each).catch(() => {});
  if (!(await session.isThere(below(root, folder)))) throw failures.folderMissing(folder);
}

/** Tries in a folder what a delivery does there; see `Exchange.rehearse`. */
export async function rehearseSftp(
  session: SftpSession,
  root: string,
  folder: string,
  { make, temporary }: RehearseOptions,
): Promise<Rehearsal | null> {
  const place = below(root, folder);
  const found = await session.stat(place).catch((error: unknown) => {
    if (hasStatus(error, STATUS.noSuchFile)) return null;
    throw error;
  });
  if (!found && !make) return null;
  if (found && found.kind !== 'folder') throw failures.notAFolder(folder);
  if (!found) await makeFolders(session, root, folder);
  return tryIn(session, place, folder, temporary);
}
