import { spawn, type ChildProcess } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerChannel } from 'ssh2';
import { notAllowed } from '../lib/errors.ts';
import type { Chroot } from './chroot-path.ts';

/** A Git client's request to an SSH host. */
interface GitCommand {
  readonly service: 'upload-pack' | 'receive-pack';
  /** The client's path, from the top of the chroot. */
  readonly path: string;
}

/** `git-upload-pack '/control.git'`: quoted as in git's connect.c; other characters are not needed here. */
const COMMAND = /^git[- ](upload-pack|receive-pack) (?:'([A-Za-z0-9._/+@=-]+)'|([A-Za-z0-9._/+@=-]+))$/;

/** Parses a command line; null unless it is one of Git's two services on a plain path. */
export function parseGitCommand(line: string): GitCommand | null {
  const [, service, quoted, bare] = COMMAND.exec(line) ?? [];
  const path = quoted ?? bare;
  if ((service !== 'upload-pack' && service !== 'receive-pack') || path === undefined) return null;
  return { service, path };
}

/** Whether a value of GIT_PROTOCOL is valid (gitprotocol-v2, "Initial Client Request"). */
export const isGitProtocol = (value: string): boolean => /^version=[0-2]$/.test(value);

async function bareRepository(chroot: Chroot, path: string): Promise<string> {
  if (path.split('/').includes('..')) throw notAllowed('git-path-outside', `${path}: not a repository here`);
  const folder = await chroot.locate(path);
  const parts = await Promise.all(
    ['HEAD', 'objects', 'refs'].map((name) => stat(join(folder, name)).catch(() => null)),
  );
  if (!parts[0]?.isFile() || !parts[1]?.isDirectory() || !parts[2]?.isDirectory())
    throw notAllowed('git-not-a-repository', `${chroot.normalize(path)}: not a bare repository`);
  return folder;
}

/** Only the repository's own configuration, and of the user's environment only PATH. */
function environment(protocol: string | undefined): NodeJS.ProcessEnv {
  const settings = {
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    LC_ALL: 'C',
    HOME: '/nonexistent',
  };
  const version = protocol === undefined ? {} : { GIT_PROTOCOL: protocol };
  return { PATH: process.env['PATH'], ...settings, ...version };
}

/**
 * Runs a service on a bare repository in the chroot, without a shell, and connects it to the channel.
 * Resolves to the exit status when all its output is sent; throws `git-path-outside`,
 * `git-not-a-repository` or `path-symlink` before anything runs.
 */
export async function serveGit(
  chroot: Chroot,
  command: GitCommand,
  channel: ServerChannel,
  protocol: string | undefined,
): Promise<number> {
  const folder = await bareRepository(chroot, command.path);
  const strict = command.service === 'upload-pack' ? ['--strict'] : [];
  const child = spawn('git', [command.service, ...strict, folder], {
    cwd: folder,
    env: environment(protocol),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  channel.pipe(child.stdin);
  child.stdin.on('error', () => {}); // Git may end before it has read all input.
  child.stdout.pipe(channel, { end: false });
  child.stderr.pipe(channel.stderr, { end: false });
  const hangUp = (): void => void child.kill('SIGTERM');
  channel.once('close', hangUp);
  try {
    return await exitStatus(child);
  } finally {
    channel.removeListener('close', hangUp);
  }
}

function exitStatus(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 128));
  });
}
