/** Records the arguments and the environment of every program that a process and its children start. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const read = (path: string): string => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // The process has ended.
  }
};

const isNumber = (name: string): boolean => /^\d+$/.test(name);

export class RecordedChildren {
  /** What was seen in /proc, by process. */
  private readonly seen = new Map<string, string>();
  private readonly timer: NodeJS.Timeout;

  /** A folder for wrappers of these programs, which record how they are called and then run the real ones. */
  constructor(
    private readonly folder: string,
    programs: readonly string[],
  ) {
    mkdirSync(join(folder, 'bin'), { recursive: true });
    mkdirSync(join(folder, 'calls'));
    for (const program of programs) {
      const real = execFileSync('/bin/sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
      const file = join(folder, 'bin', program);
      const record = `{ printf '%s\\0' "$0" "$@"; /usr/bin/env -0; } > ${folder}/calls/${program}.$$`;
      writeFileSync(file, `#!/bin/sh\n${record}\nexec ${real} "$@"\n`);
      chmodSync(file, 0o755);
    }
    this.timer = setInterval(() => this.sample(), 20).unref();
  }

  /** A PATH on which the wrappers come first. */
  get path(): string {
    return `${join(this.folder, 'bin')}:${process.env['PATH'] ?? ''}`;
  }

  /** Every call so far, by the program's name or the process's number: arguments and environment, separated by NUL. */
  get calls(): ReadonlyMap<string, string> {
    const folder = join(this.folder, 'calls');
    const wrapped = readdirSync(folder).map((name): [string, string] => [name, read(join(folder, name))]);
    return new Map([...wrapped, ...this.seen]);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Reads all descendants of our children, but not the children themselves, whose environment the test sets. */
  private sample(): void {
    const parents = new Map(
      readdirSync('/proc')
        .filter(isNumber)
        .map((pid) => [pid, /^PPid:\t(\d+)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? '0']),
    );
    const own = String(process.pid);
    for (const [pid, parent] of parents) {
      let above = parent;
      while (parents.has(above) && above !== own && parents.get(above) !== own)
        above = parents.get(above) ?? '0';
      if (above === own || parents.get(above) !== own) continue;
      const commandLine = read(`/proc/${pid}/cmdline`);
      // Between fork and exec a process still is a copy of its parent.
      if (commandLine === read(`/proc/${parent}/cmdline`)) continue;
      const text = `${commandLine}\0${read(`/proc/${pid}/environ`)}`;
      this.seen.set(`process ${pid} ${text.slice(0, 60)}`, text);
    }
  }
}
