import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode } from '../../lib/errors.ts';

/** Temporary names of our own atomic writes and locks, and of the sockets of git's ssh. */
const OURS =
  /^(?:\.(?:journal\.(?:json|signatures)|waiting\.json|witness|landmark|answered)\.[0-9a-f]{12}\.part|lock\.\d+\.[0-9a-f]{8}|ssh-[0-9a-f]{8})$/;
/** What git leaves in a bare clone when it is killed: locks that would stop it for ever, and half packs. */
const GITS = /(?:^|[/\\])(?:[^/\\]+\.lock|tmp_[A-Za-z0-9_]+)$/;

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
 * Removes what a crash left half written in a state folder, with its lock held: no one else can be at
 * work there, but for a git that outlived the signer who started it, whose unfinished fetch is made again.
 */
export async function cleanStateFolder(state: string, clone: string): Promise<void> {
  await removeMatching(state, OURS, false);
  for (const folder of [clone, join(clone, 'objects', 'pack')]) await removeMatching(folder, GITS, false);
  await removeMatching(join(clone, 'refs'), GITS, true);
}
