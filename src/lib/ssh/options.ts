import type { IdentityOptions } from './identity.ts';

export interface SshOptions extends IdentityOptions {
  /** Path of the known_hosts file that host keys are held to, always. */
  readonly knownHosts: string;
  /** For name lookup, TCP and the whole handshake; 20 s unless given. */
  readonly connectTimeoutMs?: number;
  /** Time between keep-alive probes; 5 s unless given. */
  readonly keepAliveMs?: number;
  /** Probes that may stay unanswered; 6 unless given. */
  readonly keepAliveCount?: number;
}

/** The times in force, with the defaults filled in. */
export interface SshTimes {
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly keepAliveCount: number;
}

/**
 * A host that froze is noticed after 35 s. Less would cut slow lines: the answer to a probe waits
 * behind up to 2 MiB of data in flight, which is 17 s at 1 Mbit/s.
 */
export const timesOf = (options: SshOptions): SshTimes => ({
  connectTimeoutMs: options.connectTimeoutMs ?? 20_000,
  keepAliveMs: options.keepAliveMs ?? 5000,
  keepAliveCount: options.keepAliveCount ?? 6,
});
