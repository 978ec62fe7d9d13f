/**
 * An SFTP server other than OpenSSH's: that of ssh2, which announces no extensions, serving a folder, with the
 * oddities of existing servers.
 */
import * as fs from 'node:fs';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, posix } from 'node:path';
import ssh2, { type Attributes, type SFTPWrapper } from 'ssh2';
import { generateKeyPair, generateSshKey } from '../../src/lib/ssh/generate-key.ts';
import type { SshOptions } from '../../src/lib/ssh/options.ts';

const { OPEN_MODE, STATUS_CODE } = ssh2.utils.sftp;

export interface Oddities {
  /** Requests that are answered with OP_UNSUPPORTED. */
  readonly unsupported?: readonly (
    | 'STAT'
    | 'FSTAT'
    | 'LSTAT'
    | 'SETSTAT'
    | 'FSETSTAT'
    | 'OPENDIR'
    | 'RENAME'
    | 'MKDIR'
  )[];
  /** Which attributes are sent: all, all but permissions, permissions without the file type, or only the size. */
  readonly attributes?: 'no-permissions' | 'no-kind' | 'size';
  /** REMOVE is denied: always, or if the file does not exist. */
  readonly remove?: 'denied' | 'denied-if-missing';
  /** RENAME replaces an existing file. */
  readonly renamesOver?: boolean;
  /** The number of READs that fail. */
  readonly failingReads?: number;
  /** The most bytes that READ returns. */
  readonly shortReads?: number;
  /** READ reports the end of a file after this many bytes. */
  readonly earlyEof?: number;
  /** WRITE and OPEN for writing are denied. */
  readonly readOnly?: boolean;
}

export interface OddServer {
  readonly url: string;
  readonly ssh: SshOptions;
  /** The folder that it shows as `/exchange`. */
  readonly root: string;
  /** Names and paths of the requests received. */
  readonly requests: string[];
  stop(): Promise<void>;
}

/** A status that the server answers with. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message = '',
  ) {
    super(message);
  }
}

const statusOf = (error: unknown): number => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return STATUS_CODE.NO_SUCH_FILE;
  return code === 'EACCES' ? STATUS_CODE.PERMISSION_DENIED : STATUS_CODE.FAILURE;
};

const flagsOf = (flags: number): string => {
  if ((flags & OPEN_MODE.WRITE) === 0) return 'r';
  return flags & OPEN_MODE.EXCL ? 'wx+' : flags & OPEN_MODE.TRUNC ? 'w+' : 'r+';
};

function attributesOf(stats: fs.Stats, sent: Oddities['attributes']): Attributes {
  const times = { atime: Math.trunc(stats.atimeMs / 1000), mtime: Math.trunc(stats.mtimeMs / 1000) };
  const { size, uid, gid, mode } = stats;
  const bySetting = {
    all: { size, uid, gid, mode, ...times },
    'no-kind': { size, uid, gid, mode: mode & 0o777, ...times },
    'no-permissions': { size, ...times },
    size: { size },
  };
  // ssh2 sends the attributes that are defined.
  return bySetting[sent ?? 'all'] as Attributes;
}

/** Serves one channel. */
class OddSession {
  /** File descriptors by handle; -1 for folders. */
  private readonly handles: number[] = [];
  private failingReads: number;

  constructor(
    private readonly sftp: SFTPWrapper,
    private readonly folder: string,
    private readonly odd: Oddities,
    private readonly requests: string[],
  ) {
    this.failingReads = odd.failingReads ?? 0;
  }

  serve(): void {
    const { sftp } = this;
    this.serveFiles();
    this.serveAttributes();
    sftp.on('OPENDIR', (id, path) =>
      this.answer('OPENDIR', id, path, () => {
        fs.opendirSync(this.at(path)).closeSync();
        sftp.handle(id, this.keep(-1));
      }),
    );
    sftp.on('MKDIR', (id, path) => this.change('MKDIR', id, path, () => fs.mkdirSync(this.at(path))));
    sftp.on('REMOVE', (id, path) =>
      this.change('REMOVE', id, path, () => {
        const { remove } = this.odd;
        if (remove === 'denied' || (remove === 'denied-if-missing' && !fs.existsSync(this.at(path))))
          throw new Refusal(STATUS_CODE.PERMISSION_DENIED);
        fs.unlinkSync(this.at(path));
      }),
    );
    sftp.on('RENAME', (id, from, to) =>
      this.change('RENAME', id, `${basename(from)} ${basename(to)}`, () => {
        if (fs.existsSync(this.at(to)) && !this.odd.renamesOver) throw new Refusal(STATUS_CODE.FAILURE);
        fs.renameSync(this.at(from), this.at(to));
      }),
    );
  }

  private serveFiles(): void {
    const { sftp, odd } = this;
    sftp.on('OPEN', (id, path, flags) =>
      this.answer('OPEN', id, path, () => {
        if (odd.readOnly && flags & OPEN_MODE.WRITE) throw new Refusal(STATUS_CODE.PERMISSION_DENIED);
        sftp.handle(id, this.keep(fs.openSync(this.at(path), flagsOf(flags))));
      }),
    );
    sftp.on('READ', (id, handle, offset, length) =>
      this.attempt(id, () => this.read(id, handle, offset, length)),
    );
    sftp.on('WRITE', (id, handle, offset, data) =>
      this.complete(id, () => fs.writeSync(this.fd(handle), data, 0, data.length, offset)),
    );
    sftp.on('CLOSE', (id, handle) =>
      this.complete(id, () => this.fd(handle) < 0 || fs.closeSync(this.fd(handle))),
    );
  }

  private serveAttributes(): void {
    const { sftp, odd } = this;
    sftp.on('FSTAT', (id, handle) =>
      this.answer('FSTAT', id, '', () =>
        sftp.attrs(id, attributesOf(fs.fstatSync(this.fd(handle)), odd.attributes)),
      ),
    );
    sftp.on('STAT', (id, path) =>
      this.answer('STAT', id, path, () => {
        // Servers that report only the size of an open file report more for a path.
        const reported = odd.attributes === 'size' ? 'no-permissions' : odd.attributes;
        sftp.attrs(id, attributesOf(fs.statSync(this.at(path)), reported));
      }),
    );
    sftp.on('LSTAT', (id, path) =>
      this.answer('LSTAT', id, path, () =>
        sftp.attrs(id, attributesOf(fs.lstatSync(this.at(path)), odd.attributes)),
      ),
    );
  }

  private read(id: number, handle: Buffer, offset: number, length: number): void {
    if (this.failingReads > 0) {
      this.failingReads -= 1;
      throw new Refusal(STATUS_CODE.FAILURE, 'read error');
    }
    const { earlyEof = Infinity, shortReads = length } = this.odd;
    const buffer = Buffer.alloc(Math.max(0, Math.min(length, shortReads, earlyEof - offset)));
    const count = buffer.length === 0 ? 0 : fs.readSync(this.fd(handle), buffer, 0, buffer.length, offset);
    if (count === 0) this.sftp.status(id, STATUS_CODE.EOF);
    else this.sftp.data(id, buffer.subarray(0, count));
  }

  private at(path: string): string {
    return join(this.folder, posix.normalize(`/${path}`));
  }

  private keep(fd: number): Buffer {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(this.handles.push(fd) - 1);
    return handle;
  }

  private fd(handle: Buffer): number {
    return this.handles[handle.readUInt32BE()] ?? -1;
  }

  /** Records a request and carries it out, unless it is one of those that are not supported. */
  private answer(name: string, id: number, path: string, action: () => void): void {
    this.requests.push(`${name} ${path}`.trim());
    if (this.odd.unsupported?.some((each) => each === name)) this.sftp.status(id, STATUS_CODE.OP_UNSUPPORTED);
    else this.attempt(id, action);
  }

  /** Answers a request that has no result other than its status. */
  private change(name: string, id: number, path: string, action: () => void): void {
    this.answer(name, id, path, () => this.complete(id, action));
  }

  private complete(id: number, action: () => void): void {
    this.attempt(id, () => {
      action();
      this.sftp.status(id, STATUS_CODE.OK);
    });
  }

  private attempt(id: number, action: () => void): void {
    try {
      action();
    } catch (error) {
      if (error instanceof Refusal) this.sftp.status(id, error.status, error.message);
      else this.sftp.status(id, statusOf(error));
    }
  }
}

/** Starts such a server, which accepts every key. */
export async function startOddSftp(odd: Oddities = {}): Promise<OddServer> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-odd-'));
  const root = join(folder, 'host', 'exchange');
  fs.mkdirSync(join(root, 'incoming'), { recursive: true });
  fs.mkdirSync(join(root, 'signed'));
  const host = generateKeyPair('host');
  await generateSshKey(join(folder, 'client'), 'client');
  const requests: string[] = [];
  const clients = new Set<ssh2.Connection>();
  const server = new ssh2.Server({ hostKeys: [host.private] }, (client) => {
    clients.add(client);
    client.on('error', () => {});
    client.on('authentication', (context) =>
      context.method === 'publickey' ? context.accept() : context.reject(['publickey']),
    );
    client.on('session', (accept) =>
      accept().on('sftp', (acceptSftp) =>
        new OddSession(acceptSftp(), join(folder, 'host'), odd, requests).serve(),
      ),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await writeFile(join(folder, 'known_hosts'), `[127.0.0.1]:${port} ${host.public}\n`);
  return {
    url: `sftp://sign@127.0.0.1:${port}/exchange`,
    ssh: {
      identity: join(folder, 'client'),
      knownHosts: join(folder, 'known_hosts'),
      connectTimeoutMs: 5000,
    },
    root,
    requests,
    stop: async () => {
      for (const client of clients) client.end();
      server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
