/**
 * A real OpenSSH sshd for tests, with its own host keys, configuration, authorised client and port, in a folder that is
 * removed with it.
 */
import assert from 'node:assert/strict';
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { appendFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

type HostKeyType = 'ed25519' | 'rsa' | 'ecdsa';

export interface SshdOptions {
  /** Whether the SFTP subsystem is on; default true. */
  sftp?: boolean;
  /** The command behind the subsystem; default `internal-sftp`. */
  sftpCommand?: string;
  /** Which of the host keys it shows; default all three. */
  hostKeys?: readonly HostKeyType[];
  /** A folder with host keys to use: an earlier server's, or one that `makeHostKeys` filled. */
  keysFrom?: string;
  /** Further addresses to listen on, with the same port. */
  listen?: readonly string[];
  /** Further lines of sshd_config. */
  config?: readonly string[];
}

export interface Sshd {
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The only account: that of the test. */
  readonly user: string;
  /** The folder of all its files; `stop` removes it. */
  readonly folder: string;
  /** A known_hosts file with every host key. */
  readonly knownHosts: string;
  /** The authorised client's private key (ed25519, not encrypted). */
  readonly clientKey: string;
  /** Permits a further public key: one authorized_keys line. */
  authorize(line: string): Promise<void>;
  /** `sftp://user@127.0.0.1:port/path`; the path is absolute. */
  url(path: string, scheme?: 'ssh' | 'sftp' | 'scp'): string;
  /** The process ids of the per-connection servers, oldest first. */
  sessions(): Promise<number[]>;
  /** The server's log. */
  log(): Promise<string>;
  /** Makes it read `sshd_config` in its folder again; open connections stay. */
  reload(): void;
  /** Ends the server with every session, and removes the folder. */
  stop(): Promise<void>;
}

const HOST_KEYS: readonly HostKeyType[] = ['ed25519', 'rsa', 'ecdsa'];
const ATTEMPTS = 5;

/** Makes an unencrypted (or encrypted) OpenSSH key pair with ssh-keygen; returns the public line. */
export async function makeKey(path: string, type: HostKeyType = 'ed25519', passphrase = ''): Promise<string> {
  const bits = type === 'rsa' ? ['-b', '2048'] : [];
  await run('ssh-keygen', ['-q', '-t', type, ...bits, '-N', passphrase, '-C', 'test', '-f', path]);
  return (await readFile(`${path}.pub`, 'utf8')).trim();
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      assert(address !== null && typeof address === 'object');
      server.close(() => resolve(address.port));
    });
  });
}

/** Whether an SSH server answers on the port. */
function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.setTimeout(1000, () => socket.destroy());
    socket.once('data', (data) => {
      resolve(data.toString('latin1').startsWith('SSH-2.0-'));
      socket.destroy();
    });
    socket.once('error', () => {});
    socket.once('close', () => resolve(false));
  });
}

function configuration(folder: string, keys: string, port: number, options: SshdOptions): string {
  const {
    sftp = true,
    sftpCommand = 'internal-sftp',
    hostKeys = HOST_KEYS,
    config = [],
    listen = [],
  } = options;
  return [
    ...['127.0.0.1', ...listen].map((address) => `ListenAddress ${address}:${port}`),
    ...hostKeys.map((type) => `HostKey ${keys}/host_${type}`),
    `AuthorizedKeysFile ${folder}/authorized_keys`,
    'PidFile none',
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin prohibit-password',
    'UseDNS no',
    'PrintMotd no',
    'MaxStartups 100',
    'LogLevel VERBOSE',
    ...(sftp ? [`Subsystem sftp ${sftpCommand}`] : []),
    // An empty home, since the account's start-up files would run, and take time, at every connection.
    `SetEnv HOME=${folder}/home`,
    ...config,
    '',
  ].join('\n');
}

/** Starts sshd on a free port; null if another process took the port meanwhile. */
async function launch(
  folder: string,
  keys: string,
  options: SshdOptions,
): Promise<[ChildProcess, number] | null> {
  const port = await freePort();
  await writeFile(join(folder, 'sshd_config'), configuration(folder, keys, port, options));
  const args = ['-D', '-f', join(folder, 'sshd_config'), '-E', join(folder, 'log')];
  const child = spawn('/usr/sbin/sshd', args, { stdio: 'ignore' });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  failed.catch(() => {});
  for (let attempt = 0; attempt < 200 && child.exitCode === null; attempt++) {
    if (await Promise.race([greets(port), failed])) {
      // Another server could answer on the same port while ours is about to fail.
      if (child.exitCode === null && (await readFile(join(folder, 'log'), 'utf8')).includes(`port ${port}`))
        return [child, port];
    }
    await sleep(25);
  }
  child.kill('SIGKILL');
  return null;
}

async function launchWithRetries(
  folder: string,
  keys: string,
  options: SshdOptions,
): Promise<[ChildProcess, number]> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const started = await launch(folder, keys, options);
    if (started) return started;
  }
  const log = await readFile(join(folder, 'log'), 'utf8').catch(() => '(no log)');
  throw new Error(`sshd did not start:\n${log}`);
}

async function childrenOf(pid: number): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const children: number[] = [];
  for (const candidate of pids) {
    const stat = await readFile(`/proc/${candidate}/stat`, 'utf8').catch(() => '');
    // The command name may contain spaces and parentheses; the parent follows the last of them.
    if (Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]) === pid) children.push(candidate);
  }
  return children.sort((a, b) => a - b);
}

async function descendantsOf(pid: number): Promise<number[]> {
  const children = await childrenOf(pid);
  const deeper = await Promise.all(children.map(descendantsOf));
  return [...children, ...deeper.flat()];
}

async function killAll(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const sessions = await descendantsOf(child.pid);
  child.kill('SIGKILL');
  for (const pid of sessions) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // Gone already.
    }
  }
  await exited;
}

/** Makes host keys of every type in a folder, which can then be `keysFrom`. */
export async function makeHostKeys(folder: string): Promise<void> {
  await Promise.all(HOST_KEYS.map((type) => makeKey(join(folder, `host_${type}`), type)));
}

async function writeKnownHosts(folder: string, keys: string, port: number): Promise<string> {
  const lines = await Promise.all(
    HOST_KEYS.map(async (type) => {
      const [algorithm, blob] = (await readFile(join(keys, `host_${type}.pub`), 'utf8')).split(' ');
      return `[127.0.0.1]:${port} ${algorithm} ${blob}\n`;
    }),
  );
  const path = join(folder, 'known_hosts');
  await writeFile(path, lines.join(''));
  return path;
}

/** Starts a server; call `stop` in `after`. */
export async function startSshd(options: SshdOptions = {}): Promise<Sshd> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-sshd-'));
  await mkdir(join(folder, 'home'));
  // As root, sshd insists on its privilege separation folder.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 });
  const keys = options.keysFrom ?? folder;
  if (options.keysFrom === undefined) await makeHostKeys(folder);
  const clientKey = join(folder, 'client_ed25519');
  const authorized = join(folder, 'authorized_keys');
  await writeFile(authorized, `${await makeKey(clientKey)}\n`);
  const [child, port] = await launchWithRetries(folder, keys, options);
  const knownHosts = await writeKnownHosts(folder, keys, port);
  const user = userInfo().username;
  // Stops the server also if a test does not call `stop`.
  const orphaned = (): void => void child.kill('SIGKILL');
  process.once('exit', orphaned);
  return {
    host: '127.0.0.1',
    port,
    user,
    folder,
    knownHosts,
    clientKey,
    authorize: (line) => appendFile(authorized, `${line.trim()}\n`),
    url: (path, scheme = 'sftp') => `${scheme}://${user}@127.0.0.1:${port}${encodeURI(path)}`,
    sessions: () => (child.pid === undefined ? Promise.resolve([]) : childrenOf(child.pid)),
    log: () => readFile(join(folder, 'log'), 'utf8'),
    reload: () => void child.kill('SIGHUP'),
    stop: async () => {
      process.removeListener('exit', orphaned);
      await killAll(child);
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
