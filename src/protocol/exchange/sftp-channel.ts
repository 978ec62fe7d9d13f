import type { SFTPWrapper, Stats } from 'ssh2';
import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { fileChanged } from './exchange-errors.ts';
import type { GuardedConnection } from './guarded-connection.ts';
import { entryOf, isComplete, tellsKind, type SftpEntry } from './sftp-entry.ts';
import { readBlocksInOrder, type ReadAt } from './pipelined-io.ts';

/** Status codes of the SFTP protocol (draft-ietf-secsh-filexfer-02, section 7). */
export const STATUS = { eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4, unsupported: 8 } as const;

export const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof Error && 'code' in error && error.code === status;

/** Whether the server, or ssh2 on its behalf, says that it does not offer an extension. */
export const isUnsupported = (error: unknown): boolean =>
  hasStatus(error, STATUS.unsupported) || /does not support this extended request/i.test(messageOf(error));

/** The answer, or null if the server does not know the request. */
const nullIfUnsupported = <T>(asked: Promise<T>): Promise<T | null> =>
  asked.catch((error: unknown) => {
    if (isUnsupported(error)) return null;
    throw error;
  });

type Callback<T> = (error: Error | null | undefined, value: T) => void;

/** What ssh2 keeps to itself: the extensions that the server announced, with their versions. */
const extensionsOf = (channel: SFTPWrapper): Readonly<Record<string, string>> =>
  (channel as unknown as { _extensions?: Record<string, string> })._extensions ?? {};

/** One SFTP channel: each request as a promise, bounded in time. Its server answers in order. */
export class SftpChannel {
  constructor(
    protected readonly channel: SFTPWrapper,
    protected readonly link: GuardedConnection,
  ) {}

  get alive(): boolean {
    return this.link.alive;
  }

  /** Whether the server copies within itself: `copy-data` (draft-ietf-secsh-filexfer-extensions-00, section 7; OpenSSH 9.0). */
  get canCopy(): boolean {
    return extensionsOf(this.channel)['copy-data'] === '1';
  }

  /** Whether the server renames over what is there, in one step (OpenSSH's PROTOCOL, section 4.3). */
  get canReplace(): boolean {
    return 'posix-rename@openssh.com' in extensionsOf(this.channel);
  }

  protected request<T>(what: string, send: (channel: SFTPWrapper, done: Callback<T>) => void): Promise<T> {
    // ssh2 throws at once for an extension that the server does not offer: inside the promise that is a rejection.
    const answer = new Promise<T>((resolve, reject) => {
      send(this.channel, (error, value) => (error ? reject(error) : resolve(value)));
    });
    return this.link.guard(answer, what);
  }

  /** Attributes, symbolic links followed. */
  async stat(path: string): Promise<SftpEntry> {
    const what = `stat ${path}`;
    const asked = this.request(what, (channel, done: Callback<Stats>) => channel.stat(path, done));
    const stats = await nullIfUnsupported(asked);
    if (!stats) return this.lstat(path);
    return entryOf(stats, tellsKind(stats) ? 'other' : await this.kindOf(path));
  }

  /** Attributes of the name itself, a symbolic link's among them. */
  async lstat(path: string): Promise<SftpEntry> {
    const what = `lstat ${path}`;
    const stats = await this.request(what, (channel, done: Callback<Stats>) => channel.lstat(path, done));
    return entryOf(stats, tellsKind(stats) ? 'other' : await this.kindOf(path));
  }

  /** Attributes of an open file. What the server does not report for it is asked for its name. */
  async fstat(handle: Buffer, path: string): Promise<SftpEntry> {
    const asked = this.request('fstat', (channel, done: Callback<Stats>) => channel.fstat(handle, done));
    const stats = await nullIfUnsupported(asked);
    if (stats && isComplete(stats)) return entryOf(stats, 'file');
    const named = await this.stat(path);
    if (!stats) return named;
    const open = entryOf(stats, named.kind);
    return {
      kind: open.kind,
      size: open.size < 0 ? named.size : open.size,
      mtime: open.mtime || named.mtime,
    };
  }

  /** For servers whose attributes do not say: only a folder can be opened as one. */
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

  /** Whether there is anything of this name, as far as the server says. */
  isThere(path: string): Promise<boolean> {
    return this.stat(path).then(
      () => true,
      (error: unknown) => {
        if (error instanceof SignpipeError) throw error;
        return !hasStatus(error, STATUS.noSuchFile);
      },
    );
  }

  /** `r` reads; `r+` writes too, to what is there; `wx` creates, and fails where something of that name is. */
  open(path: string, mode: 'r' | 'r+' | 'wx'): Promise<Buffer> {
    return this.request(`open ${path}`, (channel, done: Callback<Buffer>) => channel.open(path, mode, done));
  }

  /** Closes a handle; an error of a write that the server had delayed would come here. */
  closeHandle(handle: Buffer): Promise<void> {
    return this.request('close', (channel, done: Callback<void>) =>
      channel.close(handle, (error) => done(error, undefined)),
    );
  }

  private readSome(handle: Buffer, buffer: Buffer, done: number, position: number): Promise<number> {
    const length = buffer.length - done;
    return this.request('read', (channel, answer: Callback<number>) =>
      channel.read(handle, buffer, done, length, position, answer),
    );
  }

  /** Exactly `length` bytes; throws `exchange-file-changed` when the file ends before. */
  async read(handle: Buffer, offset: number, length: number, name: string): Promise<Buffer> {
    const buffer = Buffer.allocUnsafe(length);
    await this.readInto(handle, buffer, offset, name);
    return buffer;
  }

  /** The same into memory of the caller's, filled to its end. */
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

  /** `read` of one open file, as `readInOrder` takes it. */
  reader(handle: Buffer, name: string): ReadAt {
    return (offset, length) => this.read(handle, offset, length, name);
  }

  /** The bytes [start, end) of one open file in order, as `readBlocksInOrder` has them. */
  blocks(handle: Buffer, start: number, end: number, name: string): AsyncGenerator<Buffer> {
    return readBlocksInOrder(start, end, (target, offset) => this.readInto(handle, target, offset, name));
  }

  write(handle: Buffer, offset: number, bytes: Buffer): Promise<void> {
    return this.request('write', (channel, done: Callback<void>) =>
      channel.write(handle, bytes, 0, bytes.length, offset, (error) => done(error, undefined)),
    );
  }

  /**
   * Has the server copy `length` bytes, more than none, from one open file to another. It says nothing when
   * the source ends before, and takes a length of 0 for "to the end": sizes are the caller's to compare.
   */
  copy(from: Buffer, offset: number, length: number, to: Buffer, at: number): Promise<void> {
    return this.request('copy-data', (channel, done: Callback<void>) =>
      channel.ext_copy_data(from, offset, length, to, at, (error) => done(error, undefined)),
    );
  }

  /** Flushes to the disk where the server offers `fsync@openssh.com`; false where it does not. */
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
