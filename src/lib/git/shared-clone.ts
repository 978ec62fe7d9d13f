import { rm, stat, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasCode, SignpipeError } from '../errors.ts';
import { GitFailure } from './git.ts';

/*
 * Builds that run in parallel share one clone. Git itself keeps its objects and references whole, but some commands fail
 * if another process does the same at that moment.
 */

/** How often a fetch is tried if other processes update the same references. */
const TRIES = 8;

/** Whether git found a reference of the clone moved by another process. */
const isRefRace = (error: unknown): boolean =>
  error instanceof SignpipeError &&
  error.cause instanceof GitFailure &&
  /cannot lock ref '?refs\/(?:remote|signpipe)\//.test(error.cause.stderr);

/** Fetches, and again if another process moved a reference of the clone meanwhile. */
export async function againAfterRefRace(fetch: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries += 1)
    try {
      await fetch();
      return;
    } catch (error) {
      if (tries === TRIES || !isRefRace(error)) throw error;
      await sleep(Math.random() * 100 * tries);
    }
}

/** A lock of this age was left by a process that ended. */
const STALE_MS = 3600_000;

/** Does some work that may be left out, unless another process is at it: its lock file then exists. */
export async function ifAlone(lock: string, work: () => Promise<unknown>): Promise<void> {
  const age = await stat(lock).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => 0,
  );
  if (age > STALE_MS) await rm(lock, { force: true });
  try {
    await writeFile(lock, '', { flag: 'wx' });
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return;
    throw error;
  }
  try {
    await work();
  } finally {
    await rm(lock, { force: true });
  }
}
