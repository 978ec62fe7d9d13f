import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import ssh2, {
  type AuthContext,
  type Connection,
  type ParsedKey,
  type ServerChannel,
  type Session,
} from 'ssh2';
import { messageOf, SignpipeError, usage } from '../lib/errors.ts';
import { generateKeyPair } from '../lib/ssh/generate-key.ts';
import { fingerprintOf } from '../lib/sshsig/ssh-key.ts';
import { isGitProtocol, parseGitCommand, serveGit } from './git-service.ts';
import { Chroot } from './chroot-path.ts';
import { SftpServer } from './sftp-server.ts';

/** An event on the host. `user` is the name that the client gave. */
export type SshHostEvent =
  | { kind: 'login'; user: string; key: string /* SHA256:… as OpenSSH prints it */ }
  | { kind: 'refused'; user: string }
  | { kind: 'git'; user: string; service: string; path: string; status: number }
  | { kind: 'sftp'; user: string; operation: string; path: string }
  | { kind: 'forward'; user: string; to: string }
  | { kind: 'denied'; user: string; what: string };

interface SshHostOptions {
  /** The folder that clients see as `/`: bare repositories, the exchange. */
  root: string;
  /** Lines as in authorized_keys (`ssh-ed25519 AAAA… comment`); each key may log in under any name. */
  authorizedKeys: readonly string[];
  /** The host's private key in OpenSSH's format; default a new Ed25519 key. */
  hostKey?: string;
  /** On 127.0.0.1; default a free port. */
  port?: number;
  /**
   * The addresses (`127.0.0.1:8080`) that clients may connect to through this host, as PermitOpen in sshd_config; default
   * none.
   */
  permitOpen?: readonly string[];
  onEvent?: (event: SshHostEvent) => void;
}

export interface SshHost {
  readonly port: number;
  /** The line for known_hosts. */
  readonly hostKeyLine: string;
  /** The private host key, to start another host that clients accept as this one. */
  readonly hostKey: string;
  /** Ends every connection; resolves when all work of the host has ended. */
  close(): Promise<void>;
}

const CONNECTION_LIMIT = 64;
const SESSION_LIMIT = 16;

interface AuthorizedKey {
  readonly blob: Buffer;
  readonly key: ParsedKey;
}

function parseKey(text: string, what: string): ParsedKey {
  const key = ssh2.utils.parseKey(text);
  if (key instanceof Error)
    throw usage('ssh-key-invalid', `${what} cannot be read: ${key.message}`, { cause: key });
  return key;
}

function authorizedKey(line: string): AuthorizedKey {
  const key = parseKey(line, 'an authorized key');
  return { blob: key.getPublicSSH(), key };
}

const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest();

/** Compares digests in constant time, so that the time reveals nothing about the keys. */
function findKey(keys: readonly AuthorizedKey[], blob: Buffer): AuthorizedKey | undefined {
  const digest = sha256(blob);
  return keys.filter((each) => timingSafeEqual(sha256(each.blob), digest))[0];
}

/**
 * RFC 4252 section 7: a client first asks whether a key is accepted, then signs the session with it. Only the second
 * request logs in, and ssh2 does not verify its signature itself.
 */
function judge(keys: readonly AuthorizedKey[], context: AuthContext): 'accept' | 'reject' {
  if (context.method !== 'publickey') return 'reject';
  // ssh2 uses this name for RSA keys with any hash, and sets `hashAlgo` only for SHA-2.
  if (context.key.algo === 'ssh-rsa' && context.hashAlgo === undefined) return 'reject';
  const listedKey = findKey(keys, context.key.data);
  if (!listedKey) return 'reject';
  if (!context.signature) return 'accept';
  if (!context.blob) return 'reject';
  // It can also return an Error, which is truthy.
  const verdict: unknown = listedKey.key.verify(context.blob, context.signature, context.hashAlgo);
  return verdict === true ? 'accept' : 'reject';
}

class SandboxHost {
  private readonly sockets = new Set<Socket>();
  /** Requests that are being served; closing waits for them. */
  private readonly work = new Set<Promise<void>>();

  constructor(
    private readonly chroot: Chroot,
    private readonly keys: readonly AuthorizedKey[],
    private readonly onEvent: (event: SshHostEvent) => void,
    private readonly listener: NetServer,
    private readonly ssh: ssh2.Server,
    private readonly permitOpen: readonly string[],
  ) {
    ssh.on('connection', (connection) => this.serveConnection(connection));
    listener.maxConnections = CONNECTION_LIMIT;
    listener.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.once('close', () => this.sockets.delete(socket));
      socket.setNoDelay(true);
      ssh.injectSocket(socket);
    });
  }

  private serveConnection(connection: Connection): void {
    let user = '';
    let sessions = 0;
    connection.on('error', () => {}); // A client that disconnects affects no other.
    connection.on('authentication', (context) => {
      user = context.username;
      this.authenticate(context);
    });
    connection.on('session', (accept, reject) => {
      if (sessions >= SESSION_LIMIT) return reject();
      sessions++;
      const session = accept();
      session.on('close', () => sessions--);
      this.serveSession(session, user);
    });
    connection.on('tcpip', (accept, reject, { destIP, destPort }) =>
      this.forward(`${destIP}:${destPort}`, user, accept, reject),
    );
  }

  /** Connects a client onwards (RFC 4254, 7.2), if the address is permitted. */
  private forward(
    to: string,
    user: string,
    accept: () => ServerChannel,
    reject: (() => void) | undefined,
  ): void {
    if (!this.permitOpen.includes(to)) {
      this.onEvent({ kind: 'denied', user, what: `connect to ${to}` });
      return reject?.();
    }
    this.onEvent({ kind: 'forward', user, to });
    const { hostname: host, port } = new URL(`tcp://${to}`);
    const onward = connect({ host, port: Number(port), noDelay: true });
    this.sockets.add(onward);
    onward.once('error', () => reject?.());
    onward.once('close', () => this.sockets.delete(onward));
    onward.once('connect', () => {
      const channel = accept();
      channel.on('error', () => onward.destroy()).once('close', () => onward.destroy());
      onward.removeAllListeners('error').on('error', () => channel.destroy());
      channel.pipe(onward).pipe(channel);
    });
  }

  private authenticate(context: AuthContext): void {
    if (judge(this.keys, context) === 'reject') {
      if (context.method === 'publickey') this.onEvent({ kind: 'refused', user: context.username });
      return context.reject(['publickey']);
    }
    if (context.method === 'publickey' && context.signature)
      this.onEvent({ kind: 'login', user: context.username, key: fingerprintOf(context.key.data) });
    context.accept();
  }

  private serveSession(session: Session, user: string): void {
    let protocol: string | undefined;
    session.on('env', (accept: (() => void) | undefined, reject: (() => void) | undefined, { key, val }) => {
      const accepted = key === 'GIT_PROTOCOL' && isGitProtocol(val);
      if (accepted) protocol = val;
      (accepted ? accept : reject)?.();
    });
    session.on('exec', (accept, _reject, { command }) =>
      this.track(this.runCommand(accept(), command, protocol, user)),
    );
    // Also for 'sftp', since there is no listener for ssh2's own event.
    session.on(
      'subsystem',
      (accept: () => ServerChannel, reject: (() => void) | undefined, { name }: { name: string }) => {
        if (name === 'sftp') this.track(this.serveSftp(accept(), user));
        else reject?.();
      },
    );
  }

  private track(work: Promise<void>): void {
    const tracked = work.finally(() => this.work.delete(tracked));
    this.work.add(tracked);
  }

  private async runCommand(
    channel: ServerChannel,
    line: string,
    protocol: string | undefined,
    user: string,
  ): Promise<void> {
    channel.on('error', () => {});
    const command = parseGitCommand(line);
    if (!command) {
      this.onEvent({ kind: 'denied', user, what: line });
      return finish(channel, 127, 'This host runs git-upload-pack, git-receive-pack and sftp only.\n');
    }
    try {
      const status = await serveGit(this.chroot, command, channel, protocol);
      this.onEvent({ kind: 'git', user, service: command.service, path: command.path, status });
      finish(channel, status);
    } catch (error) {
      this.onEvent({ kind: 'denied', user, what: line });
      finish(
        channel,
        128,
        `fatal: ${error instanceof SignpipeError ? messageOf(error) : 'cannot run git'}\n`,
      );
    }
  }

  private async serveSftp(channel: ServerChannel, user: string): Promise<void> {
    channel.on('error', () => {});
    const onOperation = (operation: string, path: string): void =>
      this.onEvent({ kind: 'sftp', user, operation, path });
    try {
      await new SftpServer(this.chroot, onOperation).serve(channel);
      finish(channel, 0);
    } catch {
      finish(channel, 255);
    }
  }

  async close(): Promise<void> {
    const closed = once(this.listener, 'close');
    this.listener.close();
    for (const socket of this.sockets) socket.destroy();
    await closed;
    await Promise.allSettled(this.work);
    this.ssh.removeAllListeners();
  }
}

function finish(channel: ServerChannel, status: number, complaint = ''): void {
  if (channel.destroyed || !channel.writable) return;
  if (complaint) channel.stderr.write(complaint);
  channel.exit(status);
  channel.end();
}

function listen(listener: NetServer, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(port, '127.0.0.1', () => {
      const address = listener.address();
      if (address !== null && typeof address === 'object') resolve(address.port);
      else reject(new Error('no port'));
    });
  });
}

/**
 * Starts an SSH host in this process, for the demo and for tests on machines without sshd. It listens only on the
 * loopback interface, accepts only the given keys, and offers Git's two services on bare repositories and SFTP, both
 * inside `root`. There is no shell.
 */
export async function startSshHost(options: SshHostOptions): Promise<SshHost> {
  const chroot = await Chroot.at(options.root);
  const keys = options.authorizedKeys.map(authorizedKey);
  const hostKey = options.hostKey ?? generateKeyPair('sandbox host').private;
  const publicKey = parseKey(hostKey, 'the host key');
  const listener = createServer();
  const ssh = new ssh2.Server({ hostKeys: [hostKey] });
  const { onEvent = () => {}, permitOpen = [] } = options;
  const host = new SandboxHost(chroot, keys, onEvent, listener, ssh, permitOpen);
  const port = await listen(listener, options.port ?? 0);
  const line = `[127.0.0.1]:${port},[localhost]:${port} ${publicKey.type} ${publicKey.getPublicSSH().toString('base64')}`;
  return { port, hostKeyLine: `${line}\n`, hostKey, close: () => host.close() };
}
