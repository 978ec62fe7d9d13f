import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../../lib/errors.ts';

/** Temporary names of our atomic writes and locks, and of the sockets of git's ssh. */
const OWN_TEMPORARY =
  /^(?:\.(?:journal\.(?:json|signatures|attachments|[0-9a-f]{32})|waiting\.json|health\.json|expiry-warnings\.json|witness|landmark|answered)\.[0-9a-f]{12}\.part|lock\.\d+\.[0-9a-f]{8}|ssh-[0-9a-f]{8})$/;
/** What a killed git leaves in a bare clone: locks that would stop it for ever, and incomplete packs. */
const GIT_TEMPORARY = /(?:^|[/\\])(?:[^/\\]+\.lock|tmp_[A-Za-z0-9_]+)$/;

async function removeMatching(folder: string, pattern: RegExp, recursive: boolean): Promise<void> {
  let names: string[];
  try {
    names = await readdir(folder, { recursive });
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  for (const name of names) if (pattern.test(name)) await rm(join(folder, name), { force: true });
}

/**
 * Removes the temporary files that a crash left in a state folder. The caller holds its lock, so only a git that
 * outlived its signer can be at work there; its unfinished fetch is made again.
 */
export async function cleanStateFolder(state: string, clone: string): Promise<void> {
  await removeMatching(state, OWN_TEMPORARY, false);
  for (const folder of [clone, join(clone, 'objects', 'pack')])
    await removeMatching(folder, GIT_TEMPORARY, false);
  await removeMatching(join(clone, 'refs'), GIT_TEMPORARY, true);
}
