import pRetry from 'p-retry';
import { GitFailure, type Git } from './git.ts';

/** Tries, and the pause before the second one in ms; pauses double, and make 3 s together. */
const TRIES = 7;
const FIRST_PAUSE = 50;

const isLocked = (error: unknown): boolean =>
  error instanceof GitFailure && error.stderr.includes('could not lock config file');

/**
 * Makes the folder of `git`, which has to exist, an empty bare repository, or completes one. Several processes may do so at
 * once: git locks the configuration for a moment and fails if another process holds the lock, so it is tried again. Throws
 * `GitFailure`.
 */
export async function initRepository(git: Git): Promise<void> {
  await pRetry(() => git.run(['init', '--quiet', '--bare', '--template=', '--initial-branch=unused']), {
    retries: TRIES - 1,
    minTimeout: FIRST_PAUSE,
    factor: 2,
    shouldRetry: ({ error }) => isLocked(error),
  });
}
