import { directEndpoint, type TimestampEndpoint } from '../../engine/timestamp/endpoint.ts';
import { Pace } from '../../engine/timestamp/pace.ts';
import type { Dial } from '../../engine/timestamp/tunnel-route.ts';
import { unavailable, usage } from '../../lib/errors.ts';
import { ForwardingError, SshTunnel } from '../../lib/ssh/tunnel.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import { parseSshUrl } from '../../lib/ssh/url.ts';
import { tunnelledEndpoints } from '../../engine/timestamp/tunnel-route.ts';
import { sshOptionsOf, type SiteConfig } from './open.ts';
import type { TimestampAuthority } from './timestamp-authorities.ts';

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

/** The ways from a signer to its timestamp authorities. Connections are opened at their first use. */
export class TimestampRoutes {
  private readonly endpoints = new Map<string, TimestampEndpoint>();
  private tunnel: SshTunnel | null = null;
  private tunnelled: ((url: string) => TimestampEndpoint) | null = null;

  constructor(
    private readonly config: Pick<SiteConfig, 'exchange' | 'ssh'>,
    private readonly warn: (message: string) => void,
  ) {}

  /** The same endpoint for the same authority. Throws `timestamp-url` and `timestamp-proxy` (usage). */
  endpoint(authority: TimestampAuthority): TimestampEndpoint {
    const { via, url, every = 0 } = authority;
    const id = `${via} ${every} ${url}`;
    const endpoint = this.endpoints.get(id) ?? { ...this.open(authority), pace: new Pace(every) };
    this.endpoints.set(id, endpoint);
    return endpoint;
  }

  close(): void {
    this.tunnel?.close();
  }

  private open({ url, via }: TimestampAuthority): TimestampEndpoint {
    if (via === 'direct') return directEndpoint(url);
    this.tunnelled ??= tunnelledEndpoints(this.dial());
    return this.tunnelled(url);
  }

  private dial(): Dial {
    const target = parseSshUrl(this.config.exchange.url);
    this.tunnel = new SshTunnel(target, () => this.sshOptions());
    return dialThrough(this.tunnel, target.user);
  }

  private async sshOptions(): Promise<SshOptions> {
    const options = await sshOptionsOf(this.config, this.warn);
    if (options) return options;
    throw usage(
      'exchange-ssh-missing',
      'signing.timestamp has `via: ssh`, and no ssh section is configured',
      {
        hint: 'set ssh.identity and ssh.knownHosts',
      },
    );
  }
}
