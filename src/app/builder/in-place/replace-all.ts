import { constants, copyFile, rm } from 'node:fs/promises';
import { temporaryBeside } from '../../../lib/bytes/atomic-file.ts';
import { sha256OfFile } from '../../../lib/bytes/hash.ts';
import { replaceFile } from '../../../lib/bytes/replace-file.ts';
import { keepTemporary, noteTemporary, removeTemporary } from '../../../lib/bytes/temp-files.ts';
import { messageOf, SignpipeError } from '../../../lib/errors.ts';
import { fromSystemError } from '../../../lib/system-error.ts';
import type { StagedVersion } from './signed-versions.ts';

interface Replaced {
  readonly path: string;
  /** A copy of the old content, in the same folder. */
  readonly backup: string;
}

async function backUp({ path, backup }: Replaced): Promise<void> {
  noteTemporary(backup);
  await copyFile(path, backup, constants.COPYFILE_FICLONE);
}

/** Gives a file its old content again unless it has that; returns why that failed, or null. The back-up is then kept. */
async function putBack({ path, backup }: Replaced): Promise<string | null> {
  try {
    if ((await sha256OfFile(path)) !== (await sha256OfFile(backup)))
      await replaceFile(backup, path, { keepLinks: true });
    return null;
  } catch (error) {
    keepTemporary(backup);
    return `${path}: could not be put back after another file could not be replaced: ${messageOf(error)}; its old content is in ${backup}`;
  }
}

/** Puts the old content of all files back, the newest change first. */
async function putAllBack(replaced: readonly Replaced[], cause: unknown): Promise<void> {
  const problems: string[] = [];
  for (const each of [...replaced].reverse()) {
    const problem = await putBack(each);
    if (problem !== null) problems.push(problem);
  }
  if (problems.length === 0) return;
  throw new SignpipeError('local', 'in-place-mixed', problems.join('; '), {
    hint: 'the files that it names are signed, damaged or gone; the others have their old content',
    cause,
  });
}

/** What the user reads once all files have their old content again. */
function asPutBack(error: unknown, given: string): unknown {
  if (error instanceof SignpipeError && error.code === 'replace-unfinished')
    return error.saying(
      `${given}: could not be written: ${messageOf(error.cause)}; its old content was put back, and no file was replaced`,
      'is the disk in order, and not full? Then sign the files again',
    );
  return fromSystemError(error, given) ?? error;
}

/**
 * Replaces files by their signed versions; mode, owner and hard links stay. All or none: if one cannot be replaced, all
 * get their old content back, also one that was overwritten in part. A crash may leave some replaced, each of them whole
 * except one with hard links, whose new content is then beside it. A second failure (`in-place-mixed`) names the files
 * that did not get their old content back; that stays beside them.
 */
export async function replaceAll(staged: readonly StagedVersion[]): Promise<void> {
  const backups = staged.map(({ version: { target } }): Replaced => {
    return { path: target.path, backup: temporaryBeside(target.path) };
  });
  try {
    for (const each of backups) await backUp(each);
    for (const [at, { version, temporary }] of staged.entries()) {
      const { path, given } = version.target;
      await replaceFile(temporary, path, { keepLinks: true }).catch(async (error: unknown) => {
        await putAllBack(backups.slice(0, at + 1), error);
        // One that was being written into the old file is registered no longer.
        await rm(temporary, { force: true });
        throw asPutBack(error, given);
      });
    }
  } finally {
    for (const { backup } of backups) await removeTemporary(backup);
  }
}
