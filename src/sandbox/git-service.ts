import { spawn, type ChildProcess } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerChannel } from 'ssh2';
import { notAllowed } from '../lib/errors.ts';
import type { Jail } from './chroot-path.ts';

/** What a Git client asks an SSH host to run. */
export interface GitCommand {
  readonly service: 'upload-pack' | 'receive-pack';
  /** As the client wrote it: a path from the top of the jail. */
  readonly path: string;
}

/** `git-upload-pack '/control.git'`: quoted as git's connect.c does; odd characters are not needed here. */
const COMMAND = /^git[- ](upload-pack|receive-pack) (?:'([A-Za-z0-9._/+@=-]+)'|([A-Za-z0-9._/+@=-]+))$/;

/** Reads a command line; null when it is anything but one of Git's two services on a plain path. */
export function parseGitCommand(line: string): GitCommand | null {
  const [, service, quoted, bare] = COMMAND.exec(line) ?? [];
  const path = quoted ?? bare;
  if ((service !== 'upload-pack' && service !== 'receive-pack') || path === undefined) return null;
  return { service, path };
}

/** GIT_PROTOCOL as Git sends it (gitprotocol-v2, "Initial Client Request"). */
export const isGitProtocol = (value: string): boolean => /^version=[0-2]$/.test(value);

async function bareRepository(jail: Jail, path: string): Promise<string> {
  if (path.split('/').includes('..')) throw notAllowed('git-path-outside', `${path}: not a repository here`);
  const folder = await jail.locate(path);
  const parts = await Promise.all(
    ['HEAD', 'objects', 'refs'].map((name) => stat(join(folder, name)).catch(() => null)),
  );
  if (!parts[0]?.isFile() || !parts[1]?.isDirectory() || !parts[2]?.isDirectory())
    throw notAllowed('git-not-a-repository', `${jail.normalize(path)}: not a bare repository`);
  return folder;
}

/** No configuration but the repository's own, and none of the user's environment beyond the search path. */
function environment(protocol: string | undefined): NodeJS.ProcessEnv {
  const fixed = {
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    LC_ALL: 'C',
    HOME: '/nonexistent',
  };
  const version = protocol === undefined ? {} : { GIT_PROTOCOL: protocol };
  return { PATH: process.env['PATH'], ...fixed, ...version };
}

/**
 * Runs a service on a bare repository in the jail, without a shell, and joins it to the channel.
 * Resolves with the exit status when all its output is sent; throws `git-path-outside`,
 * `git-not-a-repository` or `path-symlink` before anything runs.
 */
export async function serveGit(
  jail: Jail,
  command: GitCommand,
  channel: ServerChannel,
  protocol: string | undefined,
): Promise<number> {
  const folder = await bareRepository(jail, command.path);
  const strict = command.service === 'upload-pack' ? ['--strict'] : [];
  const child = spawn('git', [command.service, ...strict, folder], {
    cwd: folder,
    env: environment(protocol),
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  channel.pipe(child.stdin);
  child.stdin.on('error', () => {}); // Git may finish before it read everything.
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
