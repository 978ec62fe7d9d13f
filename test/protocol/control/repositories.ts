/** Real Git repositories for tests, made by the git command line: a remote, a builder's work tree, and keys. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AllowedSigners } from '../../../src/lib/sshsig/allowed-signers.ts';
import { ControlRepository, type RepositoryOptions } from '../../../src/protocol/control/repository.ts';
import { loadSshSigner, type SshSigner } from '../../../src/lib/sshsig/ssh-signer.ts';

const run = promisify(execFile);

export interface GitResult {
  stdout: string;
  stderr: string;
}

/** Runs git without the account's own configuration. */
export function git(
  cwd: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<GitResult> {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GIT_')));
  return run('git', [...args], {
    cwd,
    maxBuffer: 64 * 1024 * 1024,
    env: {
      ...clean,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_AUTHOR_NAME: 'Build Master',
      GIT_AUTHOR_EMAIL: 'builder@example.org',
      GIT_COMMITTER_NAME: 'Build Master',
      GIT_COMMITTER_EMAIL: 'builder@example.org',
      ...env,
    },
  });
}

export const out = async (cwd: string, ...args: string[]): Promise<string> =>
  (await git(cwd, args)).stdout.trim();

export interface TestKey {
  signer: SshSigner;
  path: string;
  /** One line of an allowed signers file. */
  allowed: string;
}

/** A folder with a bare remote and a work tree on its `main`; `close` deletes it. */
export class TestControl {
  readonly remote: string;
  readonly work: string;
  private readonly open: ControlRepository[] = [];

  private constructor(readonly folder: string) {
    this.remote = join(folder, 'control.git');
    this.work = join(folder, 'work');
  }

  static async create(): Promise<TestControl> {
    const world = new TestControl(await mkdtemp(join(tmpdir(), 'signpipe-control-')));
    await mkdir(world.work);
    await git(world.folder, ['init', '-q', '--bare', '-b', 'main', world.remote]);
    await git(world.work, ['init', '-q', '-b', 'main']);
    await git(world.work, ['remote', 'add', 'origin', world.remote]);
    return world;
  }

  async repository(
    options: Partial<RepositoryOptions> & { clone?: string } = {},
  ): Promise<ControlRepository> {
    const { clone = 'clone', ...rest } = options;
    const repository = await ControlRepository.open({
      url: this.remote,
      path: join(this.folder, clone),
      ...rest,
    });
    this.open.push(repository);
    return repository;
  }

  async key(principal: string): Promise<TestKey> {
    const path = join(this.folder, `${principal}_ed25519`);
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', principal, '-f', path]);
    const signer = await loadSshSigner(path);
    const line = (await readFile(`${path}.pub`, 'utf8')).trim();
    return { signer, path, allowed: `${principal} ${line}` };
  }

  static allowed(...keys: TestKey[]): AllowedSigners {
    return AllowedSigners.parse(keys.map((key) => `${key.allowed}\n`).join(''), 'allowed_signers');
  }

  /** Runs git in the work tree. */
  git(...args: string[]): Promise<string> {
    return out(this.work, ...args);
  }

  async write(name: string, content: string | Buffer): Promise<void> {
    const path = join(this.work, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }

  /** Commits files (null removes one), signed if a key is given; returns the id. */
  async commit(
    message: string,
    files: Record<string, string | Buffer | null>,
    { key, env = {}, config = [] }: { key?: TestKey; env?: Record<string, string>; config?: string[] } = {},
  ): Promise<string> {
    for (const [name, content] of Object.entries(files))
      if (content === null) await git(this.work, ['rm', '-q', '-f', name]);
      else {
        await this.write(name, content);
        await git(this.work, ['add', '--', name]);
      }
    const signing = key ? ['-c', 'gpg.format=ssh', '-c', `user.signingKey=${key.path}`] : [];
    const flags = ['commit', '-q', '--allow-empty', '-F', '-', ...(key ? ['-S'] : [])];
    const messageFile = join(this.folder, 'message');
    await writeFile(messageFile, message);
    flags[flags.indexOf('-')] = messageFile;
    await git(this.work, [...config, ...signing, ...flags], env);
    return this.git('rev-parse', 'HEAD');
  }

  async push(...args: string[]): Promise<void> {
    await git(this.work, ['push', '-q', 'origin', ...(args.length > 0 ? args : ['main'])]);
  }

  async close(): Promise<void> {
    for (const repository of this.open) repository.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** A 64-digit hash made of one digit. */
export const hash = (digit: string): string => digit.repeat(64);
