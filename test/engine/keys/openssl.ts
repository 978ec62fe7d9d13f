import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A temporary folder in which `openssl` is run. */
export class OpensslFolder {
  private constructor(readonly folder: string) {}

  static async create(): Promise<OpensslFolder> {
    return new OpensslFolder(await mkdtemp(join(tmpdir(), 'signpipe-openssl-')));
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Runs openssl with the words of `line` and then `more`, which may hold spaces; throws unless it exits 0. */
  async openssl(line: string, ...more: string[]): Promise<string> {
    const args = [...line.split(' '), ...more];
    const { stdout, stderr } = await run('openssl', args, { cwd: this.folder, timeout: 60_000 });
    return stdout + stderr;
  }

  remove(): Promise<void> {
    return rm(this.folder, { recursive: true, force: true });
  }
}
