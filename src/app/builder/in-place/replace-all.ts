import { constants, copyFile } from 'node:fs/promises';
import { temporaryBeside } from '../../../lib/bytes/atomic-file.ts';
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

async function backUp(path: string): Promise<string> {
  const backup = temporaryBeside(path);
  noteTemporary(backup);
  await copyFile(path, backup, constants.COPYFILE_FICLONE);
  return backup;
}

/** Puts the old content back, the newest change first. */
async function putBack(replaced: readonly Replaced[], cause: unknown): Promise<void> {
  for (const { path, backup } of [...replaced].reverse())
    try {
      await replaceFile(backup, path, { keepLinks: true });
    } catch (error) {
      keepTemporary(backup);
      throw new SignpipeError(
        'local',
        'in-place-mixed',
        `${path}: could not be put back after another file could not be replaced: ${messageOf(error)}`,
        { hint: `some of the files are signed now, others are not; the old content is in ${backup}`, cause },
      );
    }
}

/**
 * Replaces files by their signed versions; mode, owner and hard links stay. All or none: if one cannot be replaced, those
 * before it get their old content back. Only a crash, or a second failure (`in-place-mixed`), leaves some replaced, each
 * of them whole.
 */
export async function replaceAll(staged: readonly StagedVersion[]): Promise<void> {
  const replaced: Replaced[] = [];
  try {
    for (const { version } of staged)
      replaced.push({ path: version.target.path, backup: await backUp(version.target.path) });
    for (const [done, { version, temporary }] of staged.entries()) {
      const { path, given } = version.target;
      await replaceFile(temporary, path, { keepLinks: true }).catch(async (error: unknown) => {
        await putBack(replaced.slice(0, done), error);
        throw fromSystemError(error, given) ?? error;
      });
    }
  } finally {
    for (const { backup } of replaced) await removeTemporary(backup);
  }
}
