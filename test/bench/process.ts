import { readdir, readFile, writeFile } from 'node:fs/promises';

/** Clock ticks per second in /proc (man 5 proc), which has been 100 on Linux for decades. */
const TICKS = 100;

/** CPU of a process and its descendants, including those that have ended and were waited for, in seconds. */
export async function cpuOf(pid: number): Promise<number> {
  const [own, children] = await Promise.all([ticksOf(pid), childrenOf(pid)]);
  const below = await Promise.all(children.map((child) => cpuOf(child).catch(() => 0)));
  return own / TICKS + below.reduce((sum, each) => sum + each, 0);
}

/** utime, stime, cutime and cstime (man 5 proc). */
async function ticksOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}

/** The child processes of all threads of a process. */
async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')),
  );
  return lists.flatMap((list) => list.split(' ').filter((each) => each !== '')).map(Number);
}

/**
 * CPU of a signer with its helpers, in seconds. The SSH connection that git commands share belongs to a process
 * without parent (ssh's ControlPersist), whose command line shows the path of its socket in the signer's state folder.
 */
export async function signerCpu(pid: number, state: string): Promise<number> {
  const all = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const commands = await Promise.all(
    all.map((each) => readFile(`/proc/${each}/cmdline`, 'utf8').catch(() => '')),
  );
  const shared = all.filter((_, at) => commands[at]?.startsWith(`ssh: ${state}/`));
  const used = await Promise.all([pid, ...shared].map(cpuOf));
  return used.reduce((sum, each) => sum + each, 0);
}

/** CPU of the running threads of a process, in seconds with nanosecond resolution: for less than a tick. */
export async function threadsCpuOf(pid: number): Promise<number> {
  const threads = await readdir(`/proc/${pid}/task`);
  const spent = await Promise.all(
    threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').catch(() => '0')),
  );
  return spent.reduce((sum, each) => sum + Number(each.split(' ')[0]), 0) / 1e9;
}

/** Resets the peak of a process's resident set. */
export const resetPeak = (pid: number): Promise<void> => writeFile(`/proc/${pid}/clear_refs`, '5');

/** The largest resident set of a process since `resetPeak`, in bytes. */
export async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
  return Number(kilobytes) * 1024;
}
