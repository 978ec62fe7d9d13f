import type { Client, SFTPWrapper } from 'ssh2';
import SftpClient from 'ssh2-sftp-client';
import { messageOf, usage } from '../../lib/errors.ts';
import { connectPinned } from '../../lib/ssh/connection.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import type { SshTarget } from '../../lib/ssh/url.ts';
import { timesOf } from '../../lib/ssh/options.ts';
import { runRemotely, type RemoteResult } from '../../lib/ssh/exec.ts';
import { isText, loginOutputError } from '../../lib/ssh/login-output.ts';
import { connectionLost, stalled } from './exchange-errors.ts';
import type { Session } from './reconnecting-session.ts';
import { GuardedConnection } from './guarded-connection.ts';
import { hasStatus, isUnsupported, SftpChannel, STATUS } from './sftp-channel.ts';
import { withDeadline } from '../../lib/concurrency/deadline.ts';

/** What ssh2-sftp-client keeps to itself: the connection that its channel runs over. */
const connectionOf = (sftp: SftpClient): Client => (sftp as unknown as { client: Client }).client;

interface Opened {
  readonly sftp: SftpClient;
  readonly channel: SFTPWrapper;
}

/** The text that ssh2 took for the length of a packet, if it is that. */
function textInPlaceOfLength(message: string): string | null {
  const [, length] = /Packet length (\d{1,10}) exceeds max length/.exec(message) ?? [];
  if (length === undefined) return null;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(Number(length));
  // Behind a short text the length of the real first packet begins, which is small.
  const text = bytes.subarray(0, bytes.includes(0) ? bytes.indexOf(0) : 4);
  return text.length > 0 && isText(text) ? text.toString('latin1') : null;
}

/** The subsystem is asked for after the login, outside ssh2's own time-out. */
async function openSubsystem(
  sftp: SftpClient,
  config: object,
  ms: number,
  where: string,
): Promise<SFTPWrapper> {
  try {
    return await withDeadline(sftp.connect(config), ms, () => {
      throw stalled(where, 'opening SFTP', ms);
    });
  } catch (error) {
    connectionOf(sftp).destroy();
    const text = textInPlaceOfLength(messageOf(error));
    if (text !== null) throw loginOutputError(where, text, error);
    if (!/subsystem|SFTP session/i.test(messageOf(error))) throw error;
    throw usage('exchange-no-sftp', `${where} offers no SFTP`, {
      cause: error,
      hint: 'have sshd_config say `Subsystem sftp internal-sftp`, or use scp:// in exchange.url',
    });
  }
}

/** A pinned connection with one SFTP channel over it, and what else runs over it. */
export class SftpSession extends SftpChannel implements Session {
  private constructor(
    private readonly opened: Opened,
    link: GuardedConnection,
  ) {
    super(opened.channel, link);
  }

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
    const link = new GuardedConnection(client, where, stallTimeoutMs);
    opened.channel.on('close', () => link.fail(connectionLost(where, 'the SFTP server ended')));
    opened.channel.on('error', (error: Error) => link.fail(connectionLost(where, messageOf(error))));
    return new SftpSession(opened, link);
  }

  /**
   * A second channel over the same connection, for requests that take long: a server carries out one at a
   * time a channel. It takes some round trips to open, which `use` need not wait for before it needs it, and may
   * fail with `connection-lost` though the connection stands.
   */
  async beside<T>(use: (channel: Promise<SftpChannel>) => Promise<T>): Promise<T> {
    const opening = new Promise<SFTPWrapper>((resolve, reject) => {
      this.link.client.sftp((error, channel) => (error ? reject(error) : resolve(channel)));
    });
    const channel = this.link.guard(opening, 'opening SFTP');
    const opened = channel.then((raw) => {
      raw.on('error', () => {}); // Whoever waits for an answer hears of it.
      return new SftpChannel(raw, this.link);
    });
    opened.catch(() => {}); // Who never asks for it need not hear that it failed.
    try {
      return await use(opened);
    } finally {
      channel.then(
        (raw) => raw.end(),
        () => {},
      );
    }
  }

  async end(): Promise<void> {
    if (!this.alive) return;
    await this.link.guard(this.opened.sftp.end(), 'closing', 2000).catch(() => {});
    await this.link.end();
  }

  /** Renames over what is there, in one step (`posix-rename@openssh.com`); false where that is not offered. */
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

  /** Renames to a name that is not taken yet (SFTP version 3 has no other rename). */
  async rename(from: string, to: string): Promise<void> {
    await this.request(`rename to ${to}`, (channel, done) =>
      channel.rename(from, to, (error) => done(error, undefined)),
    );
  }

  /**
   * Removes a file. False if the server says that nothing may be deleted, which some say of a name that is not
   * there, too; true if the file is gone.
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

  makeFolder(path: string): Promise<void> {
    return this.request(`mkdir ${path}`, (channel, done) =>
      channel.mkdir(path, (error) => done(error, undefined)),
    );
  }

  /** Runs a command beside the SFTP channel; accounts for SFTP only refuse that. */
  run(command: string, timeoutMs: number): Promise<RemoteResult> {
    return this.link.guard(runRemotely(this.link.client, command, timeoutMs), 'command', timeoutMs + 1000);
  }
}
