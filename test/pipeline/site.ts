/** The shipped control repository behind a real sshd, whose keys the shipped authorized_keys admits. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { initControl } from '../../src/app/site/init/init-control.ts';
import { siteIdentity } from '../../src/app/site/init/site-identity.ts';
import { git } from '../protocol/control/repositories.ts';
import { makeKey, startSshd, type Sshd } from '../world/sshd.ts';

const run = promisify(execFile);

export const pipeline = (name: string): string => join(import.meta.dirname, '../../pipeline', name);

/** The keys in pipeline/host/authorized_keys, by the comment at the end of each line. */
export type User = 'alice' | 'signer' | 'bob' | 'carol' | 'courier' | 'auditor';

export interface Pushed {
  readonly ok: boolean;
  /** The output of git and the hook. */
  readonly said: string;
}

export class HookSite {
  private constructor(
    readonly sshd: Sshd,
    readonly folder: string,
  ) {}

  static async start(): Promise<HookSite> {
    // A badly configured sshd: even so, no client may give itself a role.
    const sshd = await startSshd({ config: ['AcceptEnv GIT_PROTOCOL SIGNPIPE_*'] });
    const site = new HookSite(sshd, await mkdtemp(join(tmpdir(), 'signpipe-hook-')));
    await initControl({
      dir: site.folder,
      identity: siteIdentity('control', { name: 'Host', email: 'host@example.org' }),
    });
    for (const line of (await readFile(pipeline('host/authorized_keys'), 'utf8')).split('\n')) {
      const user = /AAAA\.\.\. (\w+)$/.exec(line)?.[1];
      if (user === undefined) continue;
      const [type = '', blob = ''] = (await makeKey(site.keyOf(user as User))).split(' ');
      await sshd.authorize(line.replace(/ssh-ed25519 AAAA\.\.\./, `${type} ${blob}`));
    }
    return site;
  }

  get repository(): string {
    return join(this.folder, 'control.git');
  }

  get url(): string {
    return this.sshd.url(this.repository, 'ssh');
  }

  keyOf(user: User): string {
    return join(this.folder, `key_${user}`);
  }

  sshCommand(user: User, ...more: string[]): string[] {
    const options = [
      'IdentitiesOnly=yes',
      'IdentityAgent=none',
      'BatchMode=yes',
      'StrictHostKeyChecking=yes',
      `UserKnownHostsFile=${this.sshd.knownHosts}`,
    ];
    return [
      '-F',
      '/dev/null',
      '-i',
      this.keyOf(user),
      ...[...options, ...more].flatMap((each) => ['-o', each]),
    ];
  }

  /** The environment in which git reaches the host as `user`. */
  environment(user: User, ...more: string[]): Record<string, string> {
    return { GIT_SSH_COMMAND: ['ssh', ...this.sshCommand(user, ...more)].join(' ') };
  }

  /** A clone in a folder of its own, made as `user`. */
  async clone(user: User, name: string): Promise<string> {
    const path = join(this.folder, 'work', name);
    await mkdir(join(this.folder, 'work'), { recursive: true });
    await git(this.folder, ['clone', '-q', this.url, path], this.environment(user));
    return path;
  }

  /** Pushes as `user`, to the host unless `url` says otherwise. */
  async push(user: User, work: string, refspecs: readonly string[], url = this.url): Promise<Pushed> {
    try {
      const { stderr } = await git(work, ['push', url, ...refspecs], this.environment(user));
      return { ok: true, said: stderr };
    } catch (error) {
      return { ok: false, said: String((error as { stderr?: string }).stderr) };
    }
  }

  /** Runs a command over ssh as `user`. */
  async ssh(user: User, command: string): Promise<Pushed> {
    const port = String(this.sshd.port);
    const args = [...this.sshCommand(user), '-p', port, `${this.sshd.user}@127.0.0.1`, command];
    return run('ssh', args).then(
      ({ stdout }) => ({ ok: true, said: stdout }),
      (error: { stderr: string; stdout: string }) => ({ ok: false, said: error.stdout + error.stderr }),
    );
  }

  async stop(): Promise<void> {
    await this.sshd.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Commits a file in a work tree; returns the commit's id. */
export async function commit(work: string, name: string, content: string | Buffer | null): Promise<string> {
  if (content === null) await git(work, ['rm', '-q', name]);
  else {
    await writeFile(join(work, name), content);
    await git(work, ['add', name]);
  }
  await git(work, ['commit', '-q', '-m', `Change ${name}`]);
  return (await git(work, ['rev-parse', 'HEAD'])).stdout.trim();
}
