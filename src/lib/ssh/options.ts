import type { IdentityOptions } from './identity.ts';

export interface SshOptions extends IdentityOptions {
  /** Path of the known_hosts file that every host key is checked against. */
  readonly knownHosts: string;
  /** For name lookup, TCP and the whole handshake; default 20 s. */
  readonly connectTimeoutMs?: number;
  /** Time between keep-alive probes; default 5 s. */
  readonly keepAliveMs?: number;
  /** How many probes may stay unanswered; default 6. */
  readonly keepAliveCount?: number;
}

/** The time-outs, with the defaults filled in. */
interface SshTimes {
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly keepAliveCount: number;
}

/**
 * The time-outs of a connection. By default a frozen host is noticed after 35 s. Less would cut slow lines: the
 * answer to a probe waits behind up to 2 MiB of data in flight, which is 17 s at 1 Mbit/s.
 */
export const timesOf = (options: SshOptions): SshTimes => ({
  connectTimeoutMs: options.connectTimeoutMs ?? 20_000,
  keepAliveMs: options.keepAliveMs ?? 5000,
  keepAliveCount: options.keepAliveCount ?? 6,
});
