import type { ServerHostKeyAlgorithm } from 'ssh2';
import { SignpipeError, usage } from '../errors.ts';
import { fingerprint, keyTypeOf, knownHostName, type HostKeys, type KnownHosts } from './known-hosts.ts';
import type { SshTarget } from './url.ts';

/** Signature algorithms for each key type (RFC 8332: RSA keys sign with SHA-2 only). */
const ALGORITHMS: Readonly<Record<string, readonly ServerHostKeyAlgorithm[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
};
const EVERY_ALGORITHM = Object.values(ALGORITHMS).flat();

/** What known_hosts says of the host, looked up under its port first as ssh(1) does. */
function lookup(target: SshTarget, known: KnownHosts): HostKeys & { exact: boolean } {
  const found = known.lookup(knownHostName(target.host, target.port));
  if (target.port === 22) return { ...found, exact: true };
  const plain = known.lookup(knownHostName(target.host, 22));
  const revoked = [...found.revoked, ...plain.revoked];
  if (found.pinned.length > 0) return { ...found, revoked, exact: true };
  return {
    pinned: plain.pinned,
    revoked,
    authorities: [...found.authorities, ...plain.authorities],
    exact: false,
  };
}

/**
 * Holds one host to its known_hosts lines. `accept` is the handshake's verifier; after a refusal
 * `refusal` says why.
 */
export class HostKeyPin {
  refusal: SignpipeError | null = null;
  private readonly keys: HostKeys & { exact: boolean };
  private readonly where: string;

  constructor(
    target: SshTarget,
    private readonly known: KnownHosts,
  ) {
    this.keys = lookup(target, known);
    this.where = knownHostName(target.host, target.port);
  }

  /**
   * The algorithms to offer: those of the pinned keys, so that a host with several keys shows one that
   * can be compared. All of them when nothing is pinned, so that the refusal can name what was shown.
   */
  algorithms(): ServerHostKeyAlgorithm[] {
    const pinned = new Set(this.keys.pinned.map((key) => key.type));
    const usable = Object.entries(ALGORITHMS).flatMap(([type, names]) => (pinned.has(type) ? names : []));
    return usable.length > 0 ? usable : [...EVERY_ALGORITHM];
  }

  /** Every algorithm, for asking what key a host shows that has none of the pinned types. */
  everyAlgorithm(): ServerHostKeyAlgorithm[] {
    return [...EVERY_ALGORITHM];
  }

  /** Whether the host may show this key; remembers the refusal otherwise. */
  accept(blob: Buffer): boolean {
    this.refusal = this.judge(blob);
    return this.refusal === null;
  }

  private judge(blob: Buffer): SignpipeError | null {
    const offered = `${keyTypeOf(blob) ?? 'unreadable'} ${fingerprint(blob)}`;
    const revoked = this.keys.revoked.find((key) => key.blob.equals(blob));
    if (revoked) return this.revoked(offered, revoked.line);
    if (this.keys.pinned.some((key) => key.blob.equals(blob))) return null;
    if (this.keys.pinned.length > 0 && this.keys.exact) return this.changed(offered);
    return this.keys.authorities.length > 0 ? this.certified(offered) : this.unknown(offered);
  }

  private revoked(offered: string, line: number): SignpipeError {
    return new SignpipeError(
      'alarm',
      'host-key-revoked',
      `${this.where} shows the host key ${offered}, which ${this.known.file}:${line} marks as revoked`,
      {
        hint: 'the key was given up, most likely because it leaked: find out who answers at that address before going on',
      },
    );
  }

  private changed(offered: string): SignpipeError {
    const pinned = this.keys.pinned.map((key) => `${key.type} ${fingerprint(key.blob)} (line ${key.line})`);
    return new SignpipeError(
      'alarm',
      'host-key-changed',
      `${this.where} shows the host key ${offered}, but ${this.known.file} has ${pinned.join(', ')}`,
      {
        hint: 'somebody may be listening in between; only if its administrator confirms the new fingerprint, replace the line in known_hosts',
      },
    );
  }

  private certified(offered: string): SignpipeError {
    return usage(
      'host-key-certificate',
      `${this.where} shows the host key ${offered}, and ${this.known.file} names only a @cert-authority for it, which is not supported here`,
      { hint: "add the host's own key to known_hosts, as a line without a marker" },
    );
  }

  private unknown(offered: string): SignpipeError {
    return usage(
      'host-key-unknown',
      `${this.where} shows the host key ${offered}, which ${this.known.file} does not list`,
      {
        hint: "compare the fingerprint with the one the host's administrator gives (ssh-keygen -lf on the host), then add the key to known_hosts with ssh-keyscan",
      },
    );
  }
}
