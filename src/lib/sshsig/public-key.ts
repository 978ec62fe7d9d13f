import type { KeyObject } from 'node:crypto';

/** The types of keys that may sign; not DSA. */
export type SshKeyType =
  | 'ssh-ed25519'
  | 'ecdsa-sha2-nistp256'
  | 'ecdsa-sha2-nistp384'
  | 'ecdsa-sha2-nistp521'
  | 'ssh-rsa'
  | 'sk-ssh-ed25519@openssh.com'
  | 'sk-ecdsa-sha2-nistp256@openssh.com';

export interface SshPublicKey {
  /** The name the blob begins with: an SshKeyType, or the name of its certificate form. */
  readonly name: string;
  readonly type: SshKeyType;
  /** The wire form as it was received, certificate included. */
  readonly blob: Buffer;
  /** The wire form of the bare key; the same as `blob` when there is no certificate. */
  readonly plain: Buffer;
  /** `SHA256:` and unpadded base64 over the bare key, as `ssh-keygen -l` prints it. */
  readonly fingerprint: string;
  readonly key: KeyObject;
  /** For security keys: what the key was made for, usually `ssh:`; else null. */
  readonly application: string | null;
  readonly certificate: SshCertificate | null;
}

/** An OpenSSH certificate (PROTOCOL.certkeys). */
export interface SshCertificate {
  readonly kind: 'user' | 'host';
  readonly serial: bigint;
  readonly keyId: string;
  readonly principals: readonly string[];
  /** Seconds since 1970: valid from `validAfter` on, and before `validBefore`. */
  readonly validAfter: bigint;
  readonly validBefore: bigint;
  /** Values by name. A verifier refuses a certificate with an unknown critical option. */
  readonly criticalOptions: ReadonlyMap<string, Buffer>;
  readonly extensions: ReadonlyMap<string, Buffer>;
  /** The key that signed the certificate; never a certificate itself. */
  readonly authority: SshPublicKey;
}
