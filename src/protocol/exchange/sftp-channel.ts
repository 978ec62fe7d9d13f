import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2';
import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { fileChanged } from './exchange-errors.ts';
import type { GuardedConnection } from './guarded-connection.ts';
import { readBlocksInOrder, type ReadAt } from './pipelined-io.ts';

/** A file's attributes. In SFTP version 3 all of them are optional (draft-ietf-secsh-filexfer-02, section 5). */
export interface SftpEntry {
  readonly kind: 'file' | 'folder' | 'other';
  /** In bytes; -1 if the server does not say. */
  readonly size: number;
  /** By the server's clock, in seconds since 1970; 0 if the server does not say. */
  readonly mtime: number;
}

/** The bits of the permissions for the kind of file (POSIX `S_IFMT`). */
const KIND_BITS = 0o170000;

/** Whether attributes distinguish a file from a folder: only permissions with kind bits do. */
const hasKind = ({ mode }: Stats): boolean => mode !== undefined && (mode & KIND_BITS) !== 0;

/** Whether attributes are complete for an open file. */
const isComplete = (stats: Stats): boolean =>
  hasKind(stats) && stats.size !== undefined && stats.mtime !== undefined;

/** Converts attributes; `unknown` is the kind if they do not say. */
function entryOf(stats: Stats, unknown: SftpEntry['kind']): SftpEntry {
  const { size = -1, mtime = 0 } = stats as Partial<Stats>;
  const reported = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other';
  return { kind: hasKind(stats) ? reported : unknown, size, mtime };
}

/** Status codes of the SFTP protocol (draft-ietf-secsh-filexfer-02, section 7). */
export const STATUS = { eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, unsupported: 8 } as const;

export const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof Error && 'code' in error && error.code === status;

/** Whether the server, or ssh2 on its behalf, says that it does not offer an extension. */
export const isUnsupported = (error: unknown): boolean =>
  hasStatus(error, STATUS.unsupported) || /does not support this extended request/i.test(messageOf(error));

/** The reply, or null if the server does not support the request. */
const nullIfUnsupported = <T>(reply: Promise<T>): Promise<T | null> =>
  reply.catch((error: unknown) => {
    if (isUnsupported(error)) return null;
    throw error;
  });

type Callback<T> = (error: Error | null | undefined, value: T) => void;

/** The extensions that the server announced, with their versions: a private field of ssh2. */
const extensionsOf = (channel: SFTPWrapper): Readonly<Record<string, string>> =>
  (channel as unknown as { _extensions?: Record<string, string> })._extensions ?? {};

/** One SFTP channel, on which the server answers in order. Each request is a promise with a time limit. */
export class SftpChannel {
  constructor(
    protected readonly channel: SFTPWrapper,
    protected readonly connection: GuardedConnection,
  ) {}

  get alive(): boolean {
    return this.connection.alive;
  }

  /** Whether the server can copy between files: `copy-data` (draft-ietf-secsh-filexfer-extensions-00, section 7; OpenSSH 9.0). */
  get canCopy(): boolean {
    return extensionsOf(this.channel)['copy-data'] === '1';
  }

  /** Whether the server can replace a file by renaming, in one step (OpenSSH's PROTOCOL, section 4.3). */
  get canReplace(): boolean {
    return 'posix-rename@openssh.com' in extensionsOf(this.channel);
  }

  protected request<T>(what: string, send: (channel: SFTPWrapper, done: Callback<T>) => void): Promise<T> {
    // For an extension that the server does not offer, ssh2 throws; inside the promise that becomes a rejection.
    const reply = new Promise<T>((resolve, reject) => {
      send(this.channel, (error, value) => (error ? reject(error) : resolve(value)));
    });
    return this.connection.guard(reply, what);
  }

  /** Attributes, symbolic links followed. */
  async stat(path: string): Promise<SftpEntry> {
    const what = `stat ${path}`;
    const reply = this.request(what, (channel, done: Callback<Stats>) => channel.stat(path, done));
    const stats = await nullIfUnsupported(reply);
    if (!stats) return this.lstat(path);
    return entryOf(stats, hasKind(stats) ? 'other' : await this.kindOf(path));
  }

  /** Attributes of the name itself, without following a symbolic link. */
  async lstat(path: string): Promise<SftpEntry> {
    const what = `lstat ${path}`;
    const stats = await this.request(what, (channel, done: Callback<Stats>) => channel.lstat(path, done));
    return entryOf(stats, hasKind(stats) ? 'other' : await this.kindOf(path));
  }

  /** Attributes of an open file; those that the server does not report for it are requested by its path. */
  async fstat(handle: Buffer, path: string): Promise<SftpEntry> {
    const reply = this.request('fstat', (channel, done: Callback<Stats>) => channel.fstat(handle, done));
    const stats = await nullIfUnsupported(reply);
    if (stats && isComplete(stats)) return entryOf(stats, 'file');
    const byPath = await this.stat(path);
    if (!stats) return byPath;
    const open = entryOf(stats, byPath.kind);
    return {
      kind: open.kind,
      size: open.size < 0 ? byPath.size : open.size,
      mtime: open.mtime || byPath.mtime,
    };
  }

  /** The kind by trying to open the path as a folder, for servers whose attributes do not say. */
  private async kindOf(path: string): Promise<SftpEntry['kind']> {
    try {
      const handle = await this.request(`opendir ${path}`, (channel, done: Callback<Buffer>) =>
        channel.opendir(path, done),
      );
      await this.closeHandle(handle);
      return 'folder';
    } catch (error) {
      if (error instanceof SignpipeError) throw error;
      return 'file';
    }
  }

  /** The entries of a folder, at most about `limit`: a server sends some at a time. */
  async readFolder(path: string, limit: number): Promise<{ name: string; entry: SftpEntry }[]> {
    const handle = await this.request(`opendir ${path}`, (channel, done: Callback<Buffer>) =>
      channel.opendir(path, done),
    );
    const entries: { name: string; entry: SftpEntry }[] = [];
    try {
      while (entries.length < limit) {
        const some = await this.readSomeEntries(handle);
        if (some.length === 0) break;
        entries.push(
          ...some.map(({ filename, attrs }) => ({ name: filename, entry: entryOf(attrs, 'other') })),
        );
      }
      return entries.slice(0, limit);
    } finally {
      await this.closeHandle(handle).catch(() => {});
    }
  }

  private readSomeEntries(handle: Buffer): Promise<FileEntryWithStats[]> {
    const reply = this.request('readdir', (channel, done: Callback<FileEntryWithStats[]>) =>
      channel.readdir(handle, done),
    );
    return reply.catch((error: unknown) => {
      if (hasStatus(error, STATUS.eof)) return [];
      throw error;
    });
  }

  /** Whether the name exists; true if the server does not say. */
  isThere(path: string): Promise<boolean> {
    return this.stat(path).then(
      () => true,
      (error: unknown) => {
        if (error instanceof SignpipeError) throw error;
        return !hasStatus(error, STATUS.noSuchFile);
      },
    );
  }

  /** Opens a file: `r` to read, `r+` to read and write, `wx` to create it, which fails if the name exists. */
  open(path: string, mode: 'r' | 'r+' | 'wx'): Promise<Buffer> {
    return this.request(`open ${path}`, (channel, done: Callback<Buffer>) => channel.open(path, mode, done));
  }

  /** Closes a handle; reports errors of writes that the server had delayed. */
  closeHandle(handle: Buffer): Promise<void> {
    return this.request('close', (channel, done: Callback<void>) =>
      channel.close(handle, (error) => done(error, undefined)),
    );
  }

  private readSome(handle: Buffer, buffer: Buffer, done: number, position: number): Promise<number> {
    const length = buffer.length - done;
    return this.request('read', (channel, callback: Callback<number>) =>
      channel.read(handle, buffer, done, length, position, callback),
    );
  }

  /** Reads exactly `length` bytes; throws `exchange-file-changed` if the file ends before. */
  async read(handle: Buffer, offset: number, length: number, name: string): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    await this.readInto(handle, buffer, offset, name);
    return buffer;
  }

  /** Fills `target` from an open file; throws `exchange-file-changed` if the file ends before. */
  async readInto(handle: Buffer, target: Buffer, offset: number, name: string): Promise<void> {
    const { length } = target;
    for (let done = 0; done < length;) {
      const count = await this.readSome(handle, target, done, offset + done).catch((error: unknown) => {
        if (hasStatus(error, STATUS.eof)) return 0;
        throw error;
      });
      if (count <= 0 || count > length - done) throw fileChanged(name);
      done += count;
    }
  }

  /** A function that reads from one open file. */
  reader(handle: Buffer, name: string): ReadAt {
    return (offset, length) => this.read(handle, offset, length, name);
  }

  /** Reads the bytes [start, end) of an open file in blocks; each is valid until the next is requested. */
  blocks(handle: Buffer, start: number, end: number, name: string): AsyncGenerator<Buffer> {
    return readBlocksInOrder(start, end, (target, offset) => this.readInto(handle, target, offset, name));
  }

  write(handle: Buffer, offset: number, bytes: Buffer): Promise<void> {
    return this.request('write', (channel, done: Callback<void>) =>
      channel.write(handle, bytes, 0, bytes.length, offset, (error) => done(error, undefined)),
    );
  }

  /**
   * Copies `length` bytes, at least one, between two open files on the server. The server reports no error if the
   * source ends before, and a length of 0 would mean "to the end": the caller must compare sizes.
   */
  copy(from: Buffer, offset: number, length: number, to: Buffer, at: number): Promise<void> {
    return this.request('copy-data', (channel, done: Callback<void>) =>
      channel.ext_copy_data(from, offset, length, to, at, (error) => done(error, undefined)),
    );
  }

  /** Flushes a file to disk; false if the server does not offer `fsync@openssh.com`. */
  async flush(handle: Buffer): Promise<boolean> {
    try {
      await this.request('fsync', (channel, done: Callback<void>) =>
        channel.ext_openssh_fsync(handle, (error) => done(error, undefined)),
      );
      return true;
    } catch (error) {
      if (isUnsupported(error)) return false;
      throw error;
    }
  }
}
