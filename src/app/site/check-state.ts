import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SignerConfig } from '../config/signer.ts';
import { hasCode, messageOf, SignpipeError } from '../../lib/errors.ts';
import { lockState } from '../signer/lock.ts';
import { bad, ok, resultOf, warning, type CheckResult } from './check-result.ts';

/** The folder itself, or the nearest one above it that is there. */
async function nearest(path: string): Promise<string> {
  try {
    await stat(path);
    return path;
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error;
    return nearest(dirname(path));
  }
}

const notWritable = (folder: string, error: unknown): CheckResult =>
  bad(
    'state-not-writable',
    `${folder} cannot be written: ${messageOf(error)}`,
    'let the account of the signer own it, or correct state',
  );

/** Locks and unlocks it, as the signer would. One that runs holds the lock, and that is as it should be. */
async function checkLock(folder: string): Promise<CheckResult> {
  try {
    const unlock = await lockState(folder);
    await unlock();
    return ok(`${folder} can be written, and no signer runs on it`);
  } catch (error) {
    if (error instanceof SignpipeError && error.code === 'state-in-use')
      return { ...resultOf(error, 'ok'), hint: 'this is the signer at work' };
    if (error instanceof SignpipeError) return resultOf(error);
    return notWritable(folder, error);
  }
}

async function checkFolder(folder: string, there: string): Promise<CheckResult> {
  try {
    if (!(await stat(there)).isDirectory()) return notWritable(folder, new Error(`${there} is no folder`));
    if (there === folder) return await checkLock(folder);
    await access(there, constants.W_OK | constants.X_OK);
    return ok(`${folder} is not there yet; the first run makes it`);
  } catch (error) {
    return notWritable(folder, error);
  }
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** A zip, and the signed one beside it, lie in the state folder while a request is in hand. */
async function checkSpace(there: string, limit: number): Promise<CheckResult> {
  const { bavail, bsize } = await statfs(there);
  const free = bavail * bsize;
  const told = `${gibibytes(free)} free on its disk`;
  return free >= 2 * limit
    ? ok(told)
    : warning(
        'disk-small',
        `${told}; a zip of limits.archive and its signed twin need ${gibibytes(2 * limit)}`,
        'free some, move state to a larger disk, or lower limits.archive',
      );
}

/** The state folder: writable, not in use by another signer, with room for the largest request. */
export async function checkState(config: SignerConfig): Promise<CheckResult[]> {
  const { state: folder } = config;
  let there: string;
  try {
    there = await nearest(folder);
  } catch (error) {
    return [notWritable(folder, error)];
  }
  return [await checkFolder(folder, there), await checkSpace(there, config.limits.archive)];
}
