/**
 * An SFTP server other than OpenSSH's: that of ssh2, which announces no extensions, serving a folder, with the
 * oddities of existing servers.
 */
import { createHash } from 'node:crypto';
import {
  existsSync,
  fstatSync,
  mkdirSync,
  opendirSync,
  readSync,
  renameSync,
  statSync,
  lstatSync,
  unlinkSync,
} from 'node:fs';
import { closeSync, openSync, writeSync, type Stats } from 'node:fs';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join, posix } from 'node:path';
import ssh2, { type Attributes, type SFTPWrapper } from 'ssh2';
import { generateKeyPair, generateSshKey } from '../../src/lib/ssh/generate.ts';
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

type Reply = (error?: unknown) => void;

const statusOf = (error: unknown): number => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return STATUS_CODE.NO_SUCH_FILE;
  return code === 'EACCES' ? STATUS_CODE.PERMISSION_DENIED : STATUS_CODE.FAILURE;
};

const flagsOf = (flags: number): string => {
  if ((flags & OPEN_MODE.WRITE) === 0) return 'r';
  return flags & OPEN_MODE.EXCL ? 'wx+' : flags & OPEN_MODE.TRUNC ? 'w+' : 'r+';
};

function attributesOf(stats: Stats, told: Oddities['attributes']): Attributes {
  const times = { atime: Math.trunc(stats.atimeMs / 1000), mtime: Math.trunc(stats.mtimeMs / 1000) };
  const { size, uid, gid, mode } = stats;
  const shown = {
    all: { size, uid, gid, mode, ...times },
    'no-kind': { size, uid, gid, mode: mode & 0o777, ...times },
    'no-permissions': { size, ...times },
    size: { size },
  };
  // ssh2 sends the attributes that are defined.
  return shown[told ?? 'all'] as Attributes;
}

/** Serves one channel. */
function serve(sftp: SFTPWrapper, folder: string, odd: Oddities, requests: string[]): void {
  const handles = new Map<number, { fd: number | null; path: string }>();
  const at = (path: string): string => join(folder, posix.normalize(`/${path}`));
  const failing = { left: odd.failingReads ?? 0 };
  const keep = (fd: number | null, path: string): Buffer => {
    const handle = Buffer.alloc(4);
    handle.writeUInt32BE(handles.size);
    handles.set(handles.size, { fd, path });
    return handle;
  };
  const open = (handle: Buffer): { fd: number | null; path: string } =>
    handles.get(handle.readUInt32BE()) ?? { fd: null, path: '' };
  const refuse = (id: number, status: number, text = ''): void => {
    sftp.status(id, status, text);
  };
  const answering =
    (id: number): Reply =>
    (error) =>
      sftp.status(id, error === undefined ? STATUS_CODE.OK : statusOf(error));
  /** Records a request; refuses it if it is unsupported. */
  const begin = (name: string, id: number, path = ''): boolean => {
    requests.push(`${name} ${path}`.trim());
    if (!odd.unsupported?.some((each) => each === name)) return true;
    sftp.status(id, STATUS_CODE.OP_UNSUPPORTED);
    return false;
  };
  const doing = (id: number, action: () => void): void => {
    try {
      action();
    } catch (error) {
      answering(id)(error);
    }
  };
  sftp.on('OPEN', (id, path, flags) => {
    if (!begin('OPEN', id, path)) return;
    if (odd.readOnly && flags & OPEN_MODE.WRITE) return refuse(id, STATUS_CODE.PERMISSION_DENIED);
    doing(id, () => sftp.handle(id, keep(openSync(at(path), flagsOf(flags)), at(path))));
  });
  sftp.on('READ', (id, handle, offset, length) => {
    if (failing.left > 0) {
      failing.left -= 1;
      return refuse(id, STATUS_CODE.FAILURE, 'read error');
    }
    doing(id, () => {
      const end = odd.earlyEof ?? Infinity;
      const buffer = Buffer.alloc(Math.max(0, Math.min(length, odd.shortReads ?? length, end - offset)));
      const count =
        buffer.length === 0 ? 0 : readSync(open(handle).fd ?? -1, buffer, 0, buffer.length, offset);
      if (count === 0) sftp.status(id, STATUS_CODE.EOF);
      else sftp.data(id, buffer.subarray(0, count));
    });
  });
  sftp.on('WRITE', (id, handle, offset, data) =>
    doing(id, () => {
      writeSync(open(handle).fd ?? -1, data, 0, data.length, offset);
      answering(id)();
    }),
  );
  sftp.on('CLOSE', (id, handle) =>
    doing(id, () => {
      const { fd } = open(handle);
      if (fd !== null) closeSync(fd);
      answering(id)();
    }),
  );
  sftp.on('FSTAT', (id, handle) => {
    if (begin('FSTAT', id))
      doing(id, () => sftp.attrs(id, attributesOf(fstatSync(open(handle).fd ?? -1), odd.attributes)));
  });
  sftp.on('STAT', (id, path) => {
    if (begin('STAT', id, path))
      // Servers that report only the size of an open file report more for a path.
      doing(id, () => {
        const told = odd.attributes === 'size' ? 'no-permissions' : odd.attributes;
        sftp.attrs(id, attributesOf(statSync(at(path)), told));
      });
  });
  sftp.on('LSTAT', (id, path) => {
    if (begin('LSTAT', id, path))
      doing(id, () => sftp.attrs(id, attributesOf(lstatSync(at(path)), odd.attributes)));
  });
  sftp.on('OPENDIR', (id, path) => {
    if (begin('OPENDIR', id, path))
      doing(id, () => {
        opendirSync(at(path)).closeSync();
        sftp.handle(id, keep(null, at(path)));
      });
  });
  sftp.on('MKDIR', (id, path) => {
    if (begin('MKDIR', id, path))
      doing(id, () => {
        mkdirSync(at(path));
        answering(id)();
      });
  });
  sftp.on('REMOVE', (id, path) => {
    begin('REMOVE', id, path);
    const denied = odd.remove === 'denied' || (odd.remove === 'denied-if-missing' && !existsSync(at(path)));
    if (denied) return refuse(id, STATUS_CODE.PERMISSION_DENIED);
    doing(id, () => {
      unlinkSync(at(path));
      answering(id)();
    });
  });
  sftp.on('RENAME', (id, from, to) => {
    if (!begin('RENAME', id, `${basename(from)} ${basename(to)}`)) return;
    if (existsSync(at(to)) && !odd.renamesOver) return refuse(id, STATUS_CODE.FAILURE);
    doing(id, () => {
      renameSync(at(from), at(to));
      answering(id)();
    });
  });
}

/** Starts such a server, which accepts every key. */
export async function startOddSftp(odd: Oddities = {}): Promise<OddServer> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-odd-'));
  const root = join(folder, 'host', 'exchange');
  mkdirSync(join(root, 'incoming'), { recursive: true });
  mkdirSync(join(root, 'signed'));
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
      accept().on('sftp', (take) => serve(take(), join(folder, 'host'), odd, requests)),
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

export const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
