import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inheritedEnvironment } from '../../../lib/child-environment.ts';
import { hasCode, messageOf, SignpipeError, usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';

/** How often the lock file may be deleted or replaced between opening and locking it. */
const MOST_TRIES = 10;

/** How long other processes wait for a new holder to write its name: number of tries, and pause in ms. */
const NAME_WAIT = { tries: 25, pause: 20 };

const cannotLock = (path: string, why: string, hint: string, cause?: unknown): SignpipeError =>
  usage('lock-unavailable', `${path}: cannot be locked: ${why}`, { hint, cause });

/**
 * Asks the kernel for an exclusive lock on the open file `fd`, without waiting; false if another process has it. Node
 * has no call for this, so `flock -n FD` of util-linux does it on the inherited descriptor. A flock(2) lock belongs to
 * the open file, not to the process that asked for it: it stays until this process closes the file or ends.
 */
function lockDescriptor(fd: number, path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['-n', '3'], {
      stdio: ['ignore', 'ignore', 'pipe', fd],
      env: inheritedEnvironment(),
    });
    let errors = '';
    child.stderr
      ?.setEncoding('utf8')
      .on('data', (text: string) => (errors = `${errors}${text}`.slice(0, 500)));
    child.once('error', (error) => {
      const hint = hasCode(error, 'ENOENT')
        ? 'install util-linux, which has the program flock'
        : 'flock must be a program that this account may run';
      reject(cannotLock(path, `flock does not start: ${messageOf(error)}`, hint, error));
    });
    child.once('close', (status) => {
      if (status === 0) resolve(true);
      else if (status === 1 && errors === '') resolve(false);
      else {
        const why = errors.trim() || `flock ended with ${status}`;
        reject(
          cannotLock(path, why, 'the state folder must be on a file system that has locks: a local disk'),
        );
      }
    });
  });
}

/** Whether `path` still names the file that is open as `fd`. */
function isStillAt(path: string, fd: number): boolean {
  const [open, named] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })];
  return open.ino === named?.ino && open.dev === named.dev;
}

/** Releases the lock by closing the file. The file is deleted first, while no other process can have locked it. */
function release(path: string, fd: number): void {
  try {
    if (isStillAt(path, fd)) rmSync(path);
  } finally {
    closeSync(fd);
  }
}

/** Opens and locks the file. Returns its descriptor, or null if another process has the lock. */
async function openLocked(path: string): Promise<number | null> {
  for (let tries = 0; tries < MOST_TRIES; tries += 1) {
    const fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
    try {
      const locked = await lockDescriptor(fd, path);
      if (locked && isStillAt(path, fd)) return fd;
      closeSync(fd);
      if (!locked) return null;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }
  throw cannotLock(path, 'it is replaced again and again', 'find out which program deletes it');
}

/** Writes who holds the lock, for people: only the kernel's lock counts. */
function writeHolder(fd: number): void {
  ftruncateSync(fd);
  writeSync(fd, `${process.pid} ${new Date().toISOString()} ${hostname()}\n`, 0);
}

function readHolder(path: string): [pid: string, since: string, host: string] {
  try {
    const [pid = '', since = '', host = ''] = readFileSync(path, 'utf8').slice(0, 400).trim().split(/\s+/);
    return [pid, since, host];
  } catch {
    return ['', '', ''];
  }
}

/** Whether the text, written on this machine, names a process that has ended: then the new holder has not written yet. */
function isOutdated([pid, , host]: [string, string, string]): boolean {
  if (host !== '' && host !== hostname()) return false;
  if (!/^[1-9]\d{0,9}$/.test(pid)) return true;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return hasCode(error, 'ESRCH');
  }
}

/** Reads the holder's text, waiting for it if necessary. */
async function holderOf(path: string): Promise<{ pid: string; taken: string }> {
  let holder = readHolder(path);
  for (let tries = 0; tries < NAME_WAIT.tries && isOutdated(holder); tries += 1) {
    await sleep(NAME_WAIT.pause);
    holder = readHolder(path);
  }
  if (isOutdated(holder)) return { pid: 'unknown', taken: '' };
  const [pid, since, host] = holder.map((text) => printable(text, 100));
  return { pid: pid ?? 'unknown', taken: since && host ? `it began on ${host} at ${since}; ` : '' };
}

/**
 * Makes this process the only user of a state folder, by a lock that the kernel holds on the file `lock` in it; returns
 * the function that releases it. The kernel also releases it when the process ends, even by SIGKILL or a power cut, so
 * there are no stale locks.
 *
 * `user` is the kind of program, for messages. Throws `state-in-use` if another one has the lock, and `lock-unavailable` if the kernel cannot be asked.
 */
export async function lockState(folder: string, user = 'signer'): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  const fd = await openLocked(path);
  if (fd !== null) {
    writeHolder(fd);
    let held = true;
    // eslint-disable-next-line require-await -- callers close several things in one way
    return async () => {
      if (held) release(path, fd);
      held = false;
    };
  }
  const { pid, taken } = await holderOf(path);
  throw usage('state-in-use', `${folder}: another ${user} (process ${pid}) is using this state folder`, {
    hint: `${taken}stop it first; two ${user}s need a state folder each`,
  });
}
