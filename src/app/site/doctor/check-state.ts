import { access, constants, stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { SignerConfig } from '../../config/signer.ts';
import { hasCode, messageOf, SignpipeError } from '../../../lib/errors.ts';
import { lockState } from '../../signer/state/lock.ts';
import { bad, ok, resultOf, warning, type CheckResult } from './check-result.ts';

/** The folder itself, or the nearest one above it that exists. */
async function nearestExisting(path: string): Promise<string> {
  try {
    await stat(path);
    return path;
  } catch (error) {
    if (!hasCode(error, 'ENOENT') || dirname(path) === path) throw error;
    return nearestExisting(dirname(path));
  }
}

const notWritable = (folder: string, error: unknown): CheckResult =>
  bad(
    'state-not-writable',
    `${folder} cannot be written: ${messageOf(error)}`,
    'make the account of the signer its owner, or correct state in the configuration',
  );

/** Locks and unlocks the folder, as the signer does. A signer that is running holds the lock, which is fine. */
async function checkLock(folder: string): Promise<CheckResult> {
  try {
    const unlock = await lockState(folder);
    await unlock();
    return ok(`${folder} can be written, and no signer is using it`);
  } catch (error) {
    if (error instanceof SignpipeError && error.code === 'state-in-use')
      return { ...resultOf(error, 'ok'), hint: 'this is the running signer' };
    if (error instanceof SignpipeError) return resultOf(error);
    return notWritable(folder, error);
  }
}

async function checkFolder(folder: string, existing: string): Promise<CheckResult> {
  try {
    if (!(await stat(existing)).isDirectory())
      return notWritable(folder, new Error(`${existing} is not a folder`));
    if (existing === folder) return await checkLock(folder);
    await access(existing, constants.W_OK | constants.X_OK);
    return ok(`${folder} does not exist yet; the signer's first run creates it`);
  } catch (error) {
    return notWritable(folder, error);
  }
}

const gibibytes = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

/** While a request is being handled, the state folder holds a zip and its signed version. */
async function checkSpace(folder: string, limit: number): Promise<CheckResult> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const message = `${gibibytes(free)} free on its disk`;
  return free >= 2 * limit
    ? ok(message)
    : warning(
        'disk-small',
        `${message}; a zip of the size limits.archive and its signed version need ${gibibytes(2 * limit)}`,
        'free some space, move state to a larger disk, or lower limits.archive',
      );
}

/** Checks that the state folder is writable, and has room for the largest request. */
export async function checkState(config: SignerConfig): Promise<CheckResult[]> {
  const { state: folder } = config;
  let existing: string;
  try {
    existing = await nearestExisting(folder);
  } catch (error) {
    return [notWritable(folder, error)];
  }
  return [await checkFolder(folder, existing), await checkSpace(existing, config.limits.archive)];
}
