import { open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { hasCode, usage } from '../errors.ts';

/** When a process began, in clock ticks since boot (proc(5)); undefined where there is no /proc. */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, 'EPERM');
  }
}

/** Whether the process that wrote the lock still runs; a number reused after a reboot does not count. */
async function isHeld(text: string): Promise<boolean> {
  const [pid = 0, start = ''] = text.trim().split(' ');
  const number = Number(pid);
  if (!Number.isSafeInteger(number) || number <= 0 || !isAlive(number)) return false;
  const actual = await startOf(number);
  return actual === undefined || start === '' || actual === start;
}

/**
 * Makes this process the only one to use a state folder; returns what gives it up again. Throws
 * `state-in-use` while another signer runs on it.
 */
export async function lockState(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  for (let tries = 0; tries < 3; tries += 1) {
    try {
      const file = await open(path, 'wx', 0o600);
      await file.writeFile(`${process.pid} ${(await startOf(process.pid)) ?? ''}\n`);
      await file.close();
      return () => rm(path, { force: true });
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    const holder = await readFile(path, 'utf8').catch(() => '');
    if (holder !== '' && (await isHeld(holder))) break;
    await rm(path, { force: true });
  }
  const holder = await readFile(path, 'utf8').catch(() => 'unknown');
  throw usage(
    'state-in-use',
    `${folder}: another signer (process ${holder.trim().split(' ')[0] ?? ''}) is using this state folder`,
    {
      hint: 'stop it first; two signers need a state folder each',
    },
  );
}
