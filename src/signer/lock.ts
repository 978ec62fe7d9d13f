import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
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

/** The lock's text, or null where there is none. */
async function holderOf(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null;
    throw error;
  }
}

/** Takes the lock if nobody has it. It appears with its text: an empty lock would be nobody's. */
async function take(path: string): Promise<boolean> {
  const own = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  await writeFile(own, `${process.pid} ${(await startOf(process.pid)) ?? ''}\n`, { flag: 'wx', mode: 0o600 });
  try {
    await link(own, path);
    return true;
  } catch (error) {
    // Not there any more: another signer has just taken the lock, and tidied up.
    if (!hasCode(error, 'EEXIST') && !hasCode(error, 'ENOENT')) throw error;
    return false;
  } finally {
    await rm(own, { force: true });
  }
}

/**
 * Takes a dead process's lock away. Another signer may do the same at this moment and have locked anew
 * already: what was moved aside is looked at, and put back where it is a live one.
 */
async function clearStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${process.pid}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return;
    throw error;
  }
  if ((await holderOf(aside)) !== stale) await link(aside, path).catch(() => {});
  await rm(aside, { force: true });
}

/**
 * Makes this process the only one to use a state folder; returns what gives it up again. Throws
 * `state-in-use` while another signer runs on it. The lock of a process that is dead is taken over.
 */
export async function lockState(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  for (let tries = 0; tries < 3; tries += 1) {
    if (await take(path)) return () => rm(path, { force: true });
    const holder = await holderOf(path);
    if (holder === null) continue;
    if (await isHeld(holder)) break;
    await clearStale(path, holder);
  }
  const [pid = ''] = ((await holderOf(path)) ?? 'unknown').trim().split(' ');
  throw usage('state-in-use', `${folder}: another signer (process ${pid}) is using this state folder`, {
    hint: 'stop it first; two signers need a state folder each',
  });
}
