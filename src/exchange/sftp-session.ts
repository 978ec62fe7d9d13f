import type { Client, SFTPWrapper, Stats } from 'ssh2';
import SftpClient from 'ssh2-sftp-client';
import { messageOf, usage } from '../errors.ts';
import { connectPinned, type SshOptions, type SshTarget } from '../ssh/connection.ts';
import { timesOf } from '../ssh/options.ts';
import { runRemotely, type RemoteResult } from '../ssh/exec.ts';
import { connectionLost, fileChanged, stalled } from './failures.ts';
import type { Session } from './kept-open.ts';
import { SshLink } from './link.ts';

/** Status codes of the SFTP protocol (draft-ietf-secsh-filexfer-02, section 7). */
export const STATUS = { eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4 } as const;

export const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof Error && 'code' in error && error.code === status;

type Callback<T> = (error: Error | null | undefined, value: T) => void;

/** What ssh2-sftp-client keeps to itself: the connection that its channel runs over. */
const connectionOf = (sftp: SftpClient): Client => (sftp as unknown as { client: Client }).client;

interface Opened {
  readonly sftp: SftpClient;
  readonly channel: SFTPWrapper;
}

/** The subsystem is asked for after the login, outside ssh2's own time-out. */
async function openSubsystem(
  sftp: SftpClient,
  config: object,
  ms: number,
  where: string,
): Promise<SFTPWrapper> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(stalled(where, 'opening SFTP', ms)), ms);
  });
  try {
    return await Promise.race([sftp.connect(config), late]);
  } catch (error) {
    connectionOf(sftp).destroy();
    if (!/subsystem|SFTP session/i.test(messageOf(error))) throw error;
    throw usage('exchange-no-sftp', `${where} offers no SFTP`, {
      cause: error,
      hint: 'have sshd_config say `Subsystem sftp internal-sftp`, or use scp:// in exchange.url',
    });
  } finally {
    clearTimeout(timer);
  }
}

/** One SFTP channel over one pinned connection: each request as a promise, bounded in time. */
export class SftpSession implements Session {
  private constructor(
    private readonly opened: Opened,
    private readonly link: SshLink,
  ) {}

  static async open(target: SshTarget, options: SshOptions, stallTimeoutMs: number): Promise<SftpSession> {
    const where = target.host;
    const deadline = 2 * timesOf(options).connectTimeoutMs;
    const opened = await connectPinned(target, options, async (config): Promise<Opened> => {
      // Its own listeners print to the console unless they are replaced.
      const sftp = new SftpClient('signpipe', { error: () => {}, end: () => {}, close: () => {} });
      return { sftp, channel: await openSubsystem(sftp, config, deadline, where) };
    });
    const client = connectionOf(opened.sftp);
    client.setNoDelay(true);
    const link = new SshLink(client, where, stallTimeoutMs);
    opened.channel.on('close', () => link.fail(connectionLost(where, 'the SFTP server ended')));
    opened.channel.on('error', (error: Error) => link.fail(connectionLost(where, messageOf(error))));
    return new SftpSession(opened, link);
  }

  get alive(): boolean {
    return this.link.alive;
  }

  async end(): Promise<void> {
    if (!this.alive) return;
    await this.link.guard(this.opened.sftp.end(), 'closing', 2000).catch(() => {});
    await this.link.end();
  }

  private request<T>(what: string, send: (channel: SFTPWrapper, done: Callback<T>) => void): Promise<T> {
    // ssh2 throws at once for an extension that the server does not offer: inside the promise that is a rejection.
    const answer = new Promise<T>((resolve, reject) => {
      send(this.opened.channel, (error, value) => (error ? reject(error) : resolve(value)));
    });
    return this.link.guard(answer, what);
  }

  /** Attributes, symbolic links followed. */
  stat(path: string): Promise<Stats> {
    return this.request(`stat ${path}`, (channel, done: Callback<Stats>) => channel.stat(path, done));
  }

  fstat(handle: Buffer): Promise<Stats> {
    return this.request('fstat', (channel, done: Callback<Stats>) => channel.fstat(handle, done));
  }

  /** `r` reads; `wx` creates, and fails where something of that name is. */
  open(path: string, mode: 'r' | 'wx'): Promise<Buffer> {
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
    for (let done = 0; done < length;) {
      const count = await this.readSome(handle, buffer, done, offset + done).catch((error: unknown) => {
        if (hasStatus(error, STATUS.eof)) return 0;
        throw error;
      });
      if (count <= 0 || count > length - done) throw fileChanged(name);
      done += count;
    }
    return buffer;
  }

  write(handle: Buffer, offset: number, bytes: Buffer): Promise<void> {
    return this.request('write', (channel, done: Callback<void>) =>
      channel.write(handle, bytes, 0, bytes.length, offset, (error) => done(error, undefined)),
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

  /** Renames over what is there, in one step (`posix-rename@openssh.com`); false where that is not offered. */
  async replace(from: string, to: string): Promise<boolean> {
    try {
      await this.link.guard(this.opened.sftp.posixRename(from, to), `rename to ${to}`);
      return true;
    } catch (error) {
      if (isUnsupported(error)) return false;
      throw error;
    }
  }

  /** Renames to a name that is not taken yet (SFTP version 3 has no other rename). */
  async rename(from: string, to: string): Promise<void> {
    await this.link.guard(this.opened.sftp.rename(from, to), `rename to ${to}`);
  }

  /** Removes a file; content when it is gone already. */
  async remove(path: string): Promise<void> {
    await this.link.guard(this.opened.sftp.delete(path, true), `remove ${path}`);
  }

  makeFolder(path: string): Promise<void> {
    return this.request(`mkdir ${path}`, (channel, done: Callback<void>) =>
      channel.mkdir(path, (error) => done(error, undefined)),
    );
  }

  /** Runs a command beside the SFTP channel; accounts for SFTP only refuse that. */
  run(command: string, timeoutMs: number): Promise<RemoteResult> {
    return this.link.guard(runRemotely(this.link.client, command, timeoutMs), 'command', timeoutMs + 1000);
  }
}

const isUnsupported = (error: unknown): boolean =>
  hasStatus(error, 8) || /does not support this extended request/i.test(messageOf(error));
