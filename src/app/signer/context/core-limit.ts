import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';

const NO_DUMPS = /^Max core file size +0 +0 /m;

/**
 * Forbids core dumps of this process and of those that it starts: they would hold keys and passphrases. Node has no call
 * for that, so `prlimit` of util-linux does it, unless the service manager has done so already. Returns whether there
 * will be none.
 */
export async function forbidCoreDumps(): Promise<boolean> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  if (NO_DUMPS.test(limits)) return true;
  try {
    await promisify(execFile)('prlimit', ['--pid', String(process.pid), '--core=0:0'], {
      env: inheritedEnvironment(),
      timeout: 5000,
    });
    return true;
  } catch {
    return false;
  }
}
