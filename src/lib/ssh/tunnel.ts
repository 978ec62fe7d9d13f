import type { Duplex } from 'node:stream';
import type { Client, ClientChannel } from 'ssh2';
import { messageOf, unavailable, type SignpipeError } from '../errors.ts';
import { withDeadline } from '../concurrency/deadline.ts';
import { connectSsh } from './connection.ts';
import { KeptConnection } from './kept-connection.ts';
import { knownHostName } from './known-hosts.ts';
import type { SshOptions } from './options.ts';
import { TunnelSocket } from './tunnel-socket.ts';
import type { SshTarget } from './url.ts';

/** How long the host may take to connect onwards, in ms: its own limit for TCP is a few minutes. */
const DIAL_MS = 20_000;

/** The reason code of RFC 4254, 5.1: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED. */
const PROHIBITED = 1;
/** What ssh2 writes before the host's own text. */
const OPEN_FAILURE = /^\(SSH\) Channel open failure: /;

/** The SSH host did not open a connection onwards. */
export class ForwardingError extends Error {
  constructor(
    /** The SSH host and port that were asked. */
    readonly by: string,
    /** Whether the host does not permit it; else it tried and failed. */
    readonly prohibited: boolean,
    message: string,
  ) {
    super(message);
  }
}

/** Asks for a `direct-tcpip` channel (RFC 4254, 7.2). */
function openForwarding(client: Client, host: string, port: number): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.forwardOut('127.0.0.1', 0, host, port, (error, channel) =>
      error ? reject(error) : resolve(channel),
    );
  });
}

/** Opens TCP connections from an SSH host onwards, all over one connection to it, which stays open. */
export class SshTunnel {
  private readonly connection: KeptConnection;
  private readonly host: string;

  /** Connects at the first use. */
  constructor(target: SshTarget, options: () => Promise<SshOptions>) {
    this.host = knownHostName(target.host, target.port);
    this.connection = new KeptConnection(async () => connectSsh(target, await options()));
  }

  /**
   * Connects to a host and port, whose name the SSH host looks up. Throws a ForwardingError, `connection-lost`
   * (unavailable), and what `connectSsh` throws.
   */
  async dial(host: string, port: number): Promise<Duplex> {
    const client = await this.connection.get();
    return new TunnelSocket(await this.forward(client, host, port));
  }

  close(): void {
    this.connection.close();
  }

  private async forward(client: Client, host: string, port: number): Promise<ClientChannel> {
    let onClose!: () => void;
    const closed = new Promise<never>((_, reject) => {
      onClose = () => reject(this.lost('the host closed it'));
    });
    client.once('close', onClose);
    const opening = openForwarding(client, host, port);
    try {
      // The connection is kept: it is the onward connection that hangs.
      return await withDeadline(Promise.race([opening, closed]), DIAL_MS, () => {
        throw new ForwardingError(this.host, false, `no connection within ${DIAL_MS / 1000} s`);
      });
    } catch (error) {
      opening.then(
        (channel) => channel.close(),
        () => {},
      );
      throw this.explain(error);
    } finally {
      client.removeListener('close', onClose);
    }
  }

  private lost(why: string, cause?: unknown): SignpipeError {
    return unavailable('connection-lost', `the SSH connection to ${this.host} was lost: ${why}`, { cause });
  }

  /** Maps ssh2's errors: those of the host have a reason code, others are about the connection. */
  private explain(error: unknown): unknown {
    const { reason } = error as { reason?: unknown };
    const text = messageOf(error);
    if (typeof reason === 'number')
      return new ForwardingError(
        this.host,
        reason === PROHIBITED,
        text.replace(OPEN_FAILURE, '') || 'no reason given',
      );
    return /not connected|no response from server/i.test(text) ? this.lost(text, error) : error;
  }
}
