import { join } from 'node:path';
import { Pace } from '../../engine/timestamp/pace.ts';
import {
  directEndpoint,
  httpEndpoint,
  type TimestampEndpoint,
} from '../../engine/timestamp/transport/endpoint.ts';
import { parseEndpoint } from '../../engine/timestamp/transport/http.ts';
import type { SendPost } from '../../engine/timestamp/transport/send-post.ts';
import { tunnelRoute, type Dial } from '../../engine/timestamp/transport/tunnel-route.ts';
import { unavailable, usage } from '../../lib/errors.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import { ForwardingError, SshTunnel } from '../../lib/ssh/tunnel.ts';
import { parseSshUrl } from '../../lib/ssh/url.ts';
import { BATCH_SIZE } from '../../protocol/courier/batch-content.ts';
import { Mailbox } from '../../protocol/courier/mailbox.ts';
import { openCommitKey, sshOptionsOf, type SiteConfig } from '../config/open.ts';
import type { SignerConfig } from '../config/signer.ts';
import type { TimestampAuthority } from '../config/timestamp-authorities.ts';
import { QueryQueue } from './query-queue.ts';

/** The address as sshd_config(5) wants it in PermitOpen. */
const permitOpen = (host: string, port: number): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;

/** Dials through the exchange's SSH host. */
const dialThrough =
  (tunnel: SshTunnel, user: string): Dial =>
  async (host, port) => {
    const to = permitOpen(host, port);
    try {
      return await tunnel.dial(host, port);
    } catch (error) {
      if (!(error instanceof ForwardingError)) throw error;
      const { by, message, prohibited } = error;
      if (prohibited)
        throw unavailable(
          'timestamp-forwarding',
          `${by} does not permit ${user} to connect to ${to}: ${message}`,
          {
            cause: error,
            hint: `in that host's sshd_config, permit it to this account: AllowTcpForwarding local, PermitOpen ${to}; after \`restrict\`, its line in authorized_keys needs port-forwarding`,
          },
        );
      throw unavailable('timestamp-connection', `${by} cannot connect to ${to}: ${message}`, {
        cause: error,
        hint: `check that ${by} can look up and reach ${to}`,
      });
    }
  };

/** How long a courier may take for one answer, in ms, unless the configuration says otherwise. */
const COURIER_MS = 60_000;

interface RoutesConfig extends Pick<SiteConfig, 'ssh'>, Pick<SignerConfig, 'receipts' | 'state'> {
  readonly control: { readonly url: string };
  readonly exchange: { readonly url: string };
}

interface RoutesOptions {
  /** Reports a key or passphrase file that others may read. */
  readonly warn: (message: string) => void;
  /** Folder for the queries to a courier; in the state folder unless given. */
  readonly folder?: string;
}

/** The ways from a signer to its timestamp authorities. Connections are opened at their first use. */
export class TimestampRoutes {
  private readonly endpoints = new Map<string, TimestampEndpoint>();
  private tunnel: SshTunnel | null = null;
  private tunnelled: SendPost | null = null;
  private queue: Promise<QueryQueue> | null = null;

  constructor(
    private readonly config: RoutesConfig,
    private readonly options: RoutesOptions,
  ) {}

  /** The same endpoint for the same authority. Throws `timestamp-url` and `timestamp-proxy` (usage). */
  endpoint(authority: TimestampAuthority): TimestampEndpoint {
    const { via, url, every = 0, timeout } = authority;
    const id = JSON.stringify([via, every, timeout, url]);
    const existing = this.endpoints.get(id);
    if (existing) return existing;
    const opened = this.open(authority);
    const endpoint = { ...opened, pace: new Pace(every), timeoutMs: timeout ?? opened.timeoutMs };
    this.endpoints.set(id, endpoint);
    return endpoint;
  }

  async close(): Promise<void> {
    this.tunnel?.close();
    const queue = await this.queue?.catch(() => null);
    await queue?.close();
  }

  private open({ url, via }: TimestampAuthority): TimestampEndpoint {
    if (via === 'direct') return directEndpoint(url);
    if (via === 'courier') return this.byCourier(parseEndpoint(url).url);
    this.tunnelled ??= tunnelRoute(this.dial());
    return httpEndpoint(url, this.tunnelled);
  }

  private byCourier(url: string): TimestampEndpoint {
    return {
      url,
      timeoutMs: COURIER_MS,
      concurrency: BATCH_SIZE,
      post: async (query, timeoutMs, abort) => {
        // A failed attempt to open it is not kept.
        this.queue ??= this.openQueue().catch((error: unknown) => {
          this.queue = null;
          throw error;
        });
        return (await this.queue).post(url, query, timeoutMs, abort);
      },
    };
  }

  private async openQueue(): Promise<QueryQueue> {
    const { config, options } = this;
    const signer = await openCommitKey(config.receipts, options.warn);
    const mailbox = await Mailbox.open({
      url: config.control.url,
      path: options.folder ?? join(config.state, 'timestamps.git'),
      ssh: await sshOptionsOf(config, options.warn),
    });
    return new QueryQueue({ mailbox, signer, identity: { name: config.receipts.name, email: '' } });
  }

  private dial(): Dial {
    const target = parseSshUrl(this.config.exchange.url);
    this.tunnel = new SshTunnel(target, () => this.sshOptions());
    return dialThrough(this.tunnel, target.user);
  }

  private async sshOptions(): Promise<SshOptions> {
    const ssh = await sshOptionsOf(this.config, this.options.warn);
    if (ssh) return ssh;
    throw usage(
      'exchange-ssh-missing',
      'signing.timestamp has `via: ssh`, and no ssh section is configured',
      { hint: 'set ssh.identity and ssh.knownHosts' },
    );
  }
}
