import type { Client, SFTPWrapper } from 'ssh2';
import SftpClient from 'ssh2-sftp-client';
import { messageOf, SignpipeError, usage } from '../../lib/errors.ts';
import { withDeadline } from '../../lib/concurrency/deadline.ts';
import { connectPinned } from '../../lib/ssh/connection.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import type { SshTarget } from '../../lib/ssh/url.ts';
import { timesOf } from '../../lib/ssh/options.ts';
import { runRemotely, type RemoteResult } from '../../lib/ssh/exec.ts';
import { isText, loginOutputError } from '../../lib/ssh/login-output.ts';
import { connectionLost, stalled } from './exchange-errors.ts';
import type { Reconnectable } from './reconnecting-session.ts';
import { GuardedConnection } from './guarded-connection.ts';
import { hasStatus, isUnsupported, SftpChannel, STATUS } from './sftp-channel.ts';

/** The connection under a channel: a private field of ssh2-sftp-client. */
const connectionOf = (sftp: SftpClient): Client => (sftp as unknown as { client: Client }).client;

interface OpenChannel {
  readonly sftp: SftpClient;
  readonly channel: SFTPWrapper;
}

/** The text that ssh2 read as the length of a packet, if the message is about that. */
function textInPlaceOfLength(message: string): string | null {
  const [, length] = /Packet length (\d{1,10}) exceeds max length/.exec(message) ?? [];
  if (length === undefined) return null;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(Number(length));
  // After a short text follows the length of the real first packet, which is small and begins with zeros.
  const text = bytes.subarray(0, bytes.includes(0) ? bytes.indexOf(0) : 4);
  return text.length > 0 && isText(text) ? text.toString('latin1') : null;
}

/** Connects and opens the subsystem. ssh2's own time-out ends with the login. */
async function openSubsystem(
  sftp: SftpClient,
  config: object,
  ms: number,
  host: string,
): Promise<SFTPWrapper> {
  try {
    return await withDeadline(sftp.connect(config), ms, () => {
      throw stalled(host, 'opening SFTP', ms);
    });
  } catch (error) {
    connectionOf(sftp).destroy();
    const text = textInPlaceOfLength(messageOf(error));
    if (text !== null) throw loginOutputError(host, text, error);
    if (!/subsystem|SFTP session/i.test(messageOf(error))) throw error;
    throw usage('exchange-no-sftp', `${host} does not offer SFTP`, {
      cause: error,
      hint: 'add `Subsystem sftp internal-sftp` to sshd_config, or use scp:// in exchange.url',
    });
  }
}

/** A connection with a checked host key, its SFTP channel, and the commands and second channels beside it. */
export class SftpSession extends SftpChannel implements Reconnectable {
  private constructor(
    private readonly main: OpenChannel,
    connection: GuardedConnection,
  ) {
    super(main.channel, connection);
  }

  static async open(target: SshTarget, options: SshOptions, stallTimeoutMs: number): Promise<SftpSession> {
    const deadline = 2 * timesOf(options).connectTimeoutMs;
    const main = await connectPinned(target, options, async (config): Promise<OpenChannel> => {
      // Its default listeners print to the console.
      const sftp = new SftpClient('signpipe', { error: () => {}, end: () => {}, close: () => {} });
      return { sftp, channel: await openSubsystem(sftp, config, deadline, target.host) };
    });
    const client = connectionOf(main.sftp);
    client.setNoDelay(true);
    const connection = new GuardedConnection(client, target.host, stallTimeoutMs);
    const lost = (why: string): void => connection.fail(connectionLost(target.host, why));
    main.channel.on('close', () => lost('the SFTP server ended'));
    main.channel.on('error', (error: Error) => lost(messageOf(error)));
    return new SftpSession(main, connection);
  }

  /**
   * Opens a second channel over the same connection for `use`, for requests that take long: a server carries out one
   * request per channel at a time. Opening takes some round trips, so `use` gets a promise. It may fail with
   * `connection-lost` though the connection is alive.
   */
  async withSecondChannel<T>(use: (channel: Promise<SftpChannel>) => Promise<T>): Promise<T> {
    const opening = new Promise<SFTPWrapper>((resolve, reject) => {
      this.connection.client.sftp((error, channel) => (error ? reject(error) : resolve(channel)));
    });
    const channel = this.connection.guard(opening, 'opening SFTP');
    const second = channel.then((raw) => {
      raw.on('error', () => {}); // The pending request reports it.
      return new SftpChannel(raw, this.connection);
    });
    second.catch(() => {}); // `use` may never await it.
    try {
      return await use(second);
    } finally {
      channel.then(
        (raw) => raw.end(),
        () => {},
      );
    }
  }

  async end(): Promise<void> {
    if (!this.alive) return;
    await this.connection.guard(this.main.sftp.end(), 'closing', 2000).catch(() => {});
    await this.connection.end();
  }

  /** Renames a file over an existing one, in one step (`posix-rename@openssh.com`); false if that is not offered. */
  async replace(from: string, to: string): Promise<boolean> {
    try {
      await this.request(
        `rename to ${to}`,
        (channel, done: (error: Error | null | undefined, value: void) => void) =>
          channel.ext_openssh_rename(from, to, (error) => done(error, undefined)),
      );
      return true;
    } catch (error) {
      if (isUnsupported(error)) return false;
      throw error;
    }
  }

  /** Renames a file to a name that must not exist (SFTP version 3 has no other rename). */
  async rename(from: string, to: string): Promise<void> {
    await this.request(`rename to ${to}`, (channel, done) =>
      channel.rename(from, to, (error) => done(error, undefined)),
    );
  }

  /**
   * Removes a file: true if it no longer exists, false if the server denies it. Some servers also deny it for a name
   * that does not exist.
   */
  async remove(path: string): Promise<boolean> {
    try {
      await this.request(`remove ${path}`, (channel, done) =>
        channel.unlink(path, (error) => done(error, undefined)),
      );
      return true;
    } catch (error) {
      if (hasStatus(error, STATUS.noSuchFile)) return true;
      if (hasStatus(error, STATUS.permissionDenied) || isUnsupported(error)) return false;
      throw error;
    }
  }

  /** Removes an empty folder; false if the server refuses. */
  async removeFolder(path: string): Promise<boolean> {
    const reply = this.request(
      `rmdir ${path}`,
      (channel, done: (error?: Error | null, value?: void) => void) =>
        channel.rmdir(path, (error) => done(error, undefined)),
    );
    return reply.then(
      () => true,
      (error: unknown) => {
        if (error instanceof SignpipeError) throw error;
        return false;
      },
    );
  }

  makeFolder(path: string): Promise<void> {
    return this.request(`mkdir ${path}`, (channel, done) =>
      channel.mkdir(path, (error) => done(error, undefined)),
    );
  }

  /** Runs a command beside the SFTP channel; SFTP-only accounts refuse that. */
  run(command: string, timeoutMs: number): Promise<RemoteResult> {
    return this.connection.guard(
      runRemotely(this.connection.client, command, timeoutMs),
      'command',
      timeoutMs + 1000,
    );
  }
}
