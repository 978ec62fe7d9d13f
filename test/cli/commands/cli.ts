/** The command line from its source, in a process of its own. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';

const main = join(import.meta.dirname, '../../../src/main.ts');

export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function signpipe(...args: readonly string[]): Promise<Ended> {
  const argv = ['--import', import.meta.resolve('tsx'), main, ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { maxBuffer: 2 ** 24 }, (error, stdout, stderr) => {
      const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ status, stdout, stderr });
    });
  });
}
