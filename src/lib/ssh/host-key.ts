import type { ServerHostKeyAlgorithm } from 'ssh2';
import { SignpipeError, usage } from '../errors.ts';
import { fingerprintOf } from '../sshsig/ssh-key.ts';
import { keyTypeOf, knownHostName, type HostKeys, type KnownHosts } from './known-hosts.ts';
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

/** The host's lines in known_hosts, looked up with the port first as ssh(1) does. */
function lookup(target: SshTarget, known: KnownHosts): HostKeys & { exact: boolean } {
  const atPort = known.lookup(knownHostName(target.host, target.port));
  if (target.port === 22) return { ...atPort, exact: true };
  const plain = known.lookup(knownHostName(target.host, 22));
  const revoked = [...atPort.revoked, ...plain.revoked];
  if (atPort.pinned.length > 0) return { ...atPort, revoked, exact: true };
  return {
    pinned: plain.pinned,
    revoked,
    authorities: [...atPort.authorities, ...plain.authorities],
    exact: false,
  };
}

/**
 * Checks one host's key against its known_hosts lines. `accept` is the handshake's verifier; after a refusal
 * `refusal` holds the reason.
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
   * can be compared; all of them if no key is pinned, so that the refusal can name the key shown.
   */
  algorithms(): ServerHostKeyAlgorithm[] {
    const pinned = new Set(this.keys.pinned.map((key) => key.type));
    const usable = Object.entries(ALGORITHMS).flatMap(([type, names]) => (pinned.has(type) ? names : []));
    return usable.length > 0 ? usable : [...EVERY_ALGORITHM];
  }

  /** Every algorithm, to find out which key a host shows if it has none of the pinned types. */
  everyAlgorithm(): ServerHostKeyAlgorithm[] {
    return [...EVERY_ALGORITHM];
  }

  /** Whether this key is the host's; if not, `refusal` is set. */
  accept(blob: Buffer): boolean {
    this.refusal = this.judge(blob);
    return this.refusal === null;
  }

  private judge(blob: Buffer): SignpipeError | null {
    const offered = `${keyTypeOf(blob) ?? 'unreadable'} ${fingerprintOf(blob)}`;
    const revoked = this.keys.revoked.find((key) => key.blob.equals(blob));
    if (revoked) return this.revokedKey(offered, revoked.line);
    if (this.keys.pinned.some((key) => key.blob.equals(blob))) return null;
    if (this.keys.pinned.length > 0 && this.keys.exact) return this.changedKey(offered);
    return this.keys.authorities.length > 0 ? this.onlyAuthority(offered) : this.unknownKey(offered);
  }

  private revokedKey(offered: string, line: number): SignpipeError {
    return new SignpipeError(
      'alarm',
      'host-key-revoked',
      `${this.where} shows the host key ${offered}, which ${this.known.file}:${line} marks as revoked`,
      {
        hint: 'the key was withdrawn, most likely because it leaked: find out which host answers at that address before you continue',
      },
    );
  }

  private changedKey(offered: string): SignpipeError {
    const pinned = this.keys.pinned.map((key) => `${key.type} ${fingerprintOf(key.blob)} (line ${key.line})`);
    return new SignpipeError(
      'alarm',
      'host-key-changed',
      `${this.where} shows the host key ${offered}, but ${this.known.file} has ${pinned.join(', ')}`,
      {
        hint: "an attacker may be intercepting the connection; replace the line in known_hosts only if the host's administrator confirms the new fingerprint",
      },
    );
  }

  private onlyAuthority(offered: string): SignpipeError {
    return usage(
      'host-key-certificate',
      `${this.where} shows the host key ${offered}, and ${this.known.file} names only a @cert-authority for it, which is not supported here`,
      { hint: "add the host's own key to known_hosts, as a line without a marker" },
    );
  }

  private unknownKey(offered: string): SignpipeError {
    return usage(
      'host-key-unknown',
      `${this.where} shows the host key ${offered}, which ${this.known.file} does not list`,
      {
        hint: "compare the fingerprint with the one that the host's administrator gives you (ssh-keygen -lf on the host), then add the key to known_hosts with ssh-keyscan",
      },
    );
  }
}
