import { sign as signWithCallback, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { OID, type DigestName } from '../../lib/asn1/oids.ts';
import { SignpipeError, usage, type ErrorDetails } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { issuerMissing, orderChain } from '../../lib/x509/chain-order.ts';
import { latestExpiryFirst } from '../../lib/x509/expiry.ts';
import { isoDay } from '../../lib/iso-day.ts';

/** What a key has made of some data. */
export interface KeySignature {
  /** A PKCS#1 v1.5 signature (RFC 8017, 8.2) or a DER ECDSA-Sig-Value (RFC 3279, 2.2.3). */
  readonly value: Buffer;
  /**
   * The chain that it verifies with, never empty: that of the key, or for a service whose certificates live for days, the
   * one that came with this signature and has the same identity.
   */
  readonly certificates: readonly Certificate[];
}

/**
 * The key cannot be reached now: its token is not there, its service is down or asks to slow down. Trying again can help.
 */
export class KeyUnavailable extends SignpipeError {
  /** How long the service asks to wait before the next attempt, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    message: string,
    { retryAfterMs, ...details }: ErrorDetails & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super('unavailable', code, message, details);
    this.retryAfterMs = retryAfterMs;
  }

  override saying(message: string, hint: string | undefined): KeyUnavailable {
    const { code, cause, retryAfterMs } = this;
    return new KeyUnavailable(code, message, {
      ...(hint === undefined ? {} : { hint }),
      cause,
      retryAfterMs,
    });
  }
}

/**
 * A private key that signs programs, with its certificates. The key itself may be in memory, in a token or in a
 * service: `openSigningKey` opens it, and nothing else depends on where it is.
 *
 * Errors are SignpipeErrors: `usage` if the configuration or the key must change, `KeyUnavailable` if trying again can
 * help, `local` for everything else. No message holds a secret, and no method asks a person anything.
 */
export interface SigningKey {
  /**
   * The chain, never empty: first the certificate of this private key, then the intermediates in order. The root is
   * left out unless it is the only certificate.
   */
  readonly certificates: readonly Certificate[];
  /** The kind of the private key: RSA of 2048 bits or more, or ECDSA on a curve that Windows verifies. */
  readonly algorithm: 'rsa' | 'ecdsa';
  /**
   * True if a service issues certificates for days at a time and sends one with each signature. `certificates` are then
   * those that it had when the key was opened: their identity lasts, their validity does not.
   */
  readonly shortLived?: boolean | undefined;
  /** The name of the issuer of the first certificate, if no certificate with that name was found. */
  readonly missingIssuer?: string | undefined;
  /** The digests that the key signs, never empty; all if left out. Services bind a key to one, by its curve for example. */
  readonly digests?: readonly DigestName[] | undefined;
  /**
   * How many signatures may be in flight if a token, a service or another program makes them; further calls of `sign`
   * wait. Left out for a key in memory, whose signatures are work for this process.
   */
  readonly concurrency?: number | undefined;
  /**
   * Signs `data` (not a digest: node:crypto has no ECDSA over a digest; `externalKey` hashes for tokens and services).
   * The caller verifies the signature with the first of its certificates.
   *
   * May be called again before an earlier call has ended; an implementation that can make only some signatures at a
   * time queues the calls. Throws `key-closed` after `close`.
   */
  sign(hash: DigestName, data: Buffer): Promise<KeySignature>;
  /**
   * Asks whether the key can be reached, without making a signature: throws as `sign` would if it cannot. Left out if only
   * a signature shows that.
   */
  available?(): Promise<void>;
  /** Releases the key. May be called more than once. */
  close(): Promise<void>;
}

/** A key whose signatures are made by another function, which uses it. Only the key itself is asked whether it is `available`. */
export const withSign = (key: SigningKey, sign: SigningKey['sign']): SigningKey => ({
  certificates: key.certificates,
  algorithm: key.algorithm,
  shortLived: key.shortLived,
  missingIssuer: key.missingIssuer,
  digests: key.digests,
  concurrency: key.concurrency,
  sign,
  close: () => key.close(),
});

/** Whether one of the certificates is good for tests only; a key with such a chain may sign without timestamps. */
export const isTestChain = (certificates: readonly Certificate[]): boolean =>
  certificates.some((certificate) => certificate.isTest);

/** The curves that Windows verifies Authenticode signatures with. */
const CURVES = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** The shortest RSA modulus that is accepted, in bits: the CA/Browser Forum's minimum before 2021. */
const MIN_RSA_BITS = 2048;

const signAsync = promisify<string, Buffer, KeyObject, Buffer>(signWithCallback);

export const keyClosed = (): SignpipeError =>
  new SignpipeError('local', 'key-closed', 'the signing key has been closed already');

/**
 * Throws `key-unsupported` or `key-too-weak` unless Authenticode can be signed with this key; its public key is enough.
 */
export function algorithmOf(key: KeyObject, what: string): 'rsa' | 'ecdsa' {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'rsa') {
    const bits = details?.modulusLength ?? 0;
    if (bits >= MIN_RSA_BITS) return 'rsa';
    throw usage('key-too-weak', `${what}: its RSA key has ${bits} bits, fewer than ${MIN_RSA_BITS}`, {
      hint: 'get a certificate for an RSA key of 3072 bits or more, or for P-256 or P-384',
    });
  }
  if (key.asymmetricKeyType === 'ec' && CURVES.has(details?.namedCurve ?? '')) return 'ecdsa';
  const kind = [key.asymmetricKeyType, details?.namedCurve].filter(Boolean).join(' ');
  throw usage('key-unsupported', `${what}: a key of type ${kind} cannot sign programs`, {
    hint:
      key.asymmetricKeyType === 'rsa-pss'
        ? 'Windows accepts no RSASSA-PSS signatures on programs: get a certificate for an ordinary RSA key'
        : 'use RSA of 2048 bits or more, or ECDSA on P-256, P-384 or P-521',
  });
}

/** A private key in the memory of this process. libuv's thread pool makes the signatures. */
class MemoryKey implements SigningKey {
  private key: KeyObject | null;

  constructor(
    key: KeyObject,
    readonly algorithm: 'rsa' | 'ecdsa',
    readonly certificates: readonly Certificate[],
    readonly missingIssuer: string | undefined,
  ) {
    this.key = key;
  }

  async sign(hash: DigestName, data: Buffer): Promise<KeySignature> {
    if (!this.key) throw keyClosed();
    return { value: await signAsync(hash, data, this.key), certificates: this.certificates };
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async close(): Promise<void> {
    this.key = null;
  }
}

/** Whether the certificate belongs to the private key. */
export const belongsTo = (certificate: Certificate, key: KeyObject): boolean =>
  certificate.x509.checkPrivateKey(key);

/**
 * Makes a signing key from a private key and certificates in any order. The first certificate of the chain is the
 * one that belongs to the key (of several, the one that expires last); its issuers follow; the root and unrelated
 * certificates are dropped.
 *
 * Throws `key-unsupported`, `key-too-weak`, or `key-does-not-match` if no certificate belongs to the key.
 */
export function signingKey(key: KeyObject, certificates: readonly Certificate[], what: string): SigningKey {
  const algorithm = algorithmOf(key, what);
  const [leaf] = certificates
    .filter((certificate) => belongsTo(certificate, key))
    .toSorted(latestExpiryFirst);
  if (!leaf)
    throw usage('key-does-not-match', `${what}: none of the certificates belongs to the private key`, {
      hint: 'give the certificate that was issued for this private key',
    });
  const chain = orderChain(leaf, certificates);
  return new MemoryKey(key, algorithm, chain, issuerMissing(chain, certificates));
}

/**
 * Throws usage errors if Windows would reject signatures that this key makes at a given time:
 * `certificate-expired`, `certificate-not-yet-valid`, `certificate-not-for-code-signing` (RFC 5280, 4.2.1.3 and
 * 4.2.1.12). The validity of a short-lived certificate is not judged: the next signature comes with another one.
 */
export function requireUsable(
  { certificates, shortLived = false }: Pick<SigningKey, 'certificates' | 'shortLived'>,
  at: Date,
): void {
  const [leaf] = certificates;
  if (!leaf) throw usage('key-does-not-match', 'the signing key has no certificate');
  if (!shortLived) requireValid(leaf, at);
  requireForCodeSigning(leaf);
}

/** Whether Windows would accept signatures that this key makes at a given time; see `requireUsable`. */
export function isUsable(key: SigningKey, at: Date): boolean {
  try {
    requireUsable(key, at);
    return true;
  } catch {
    return false;
  }
}

function requireValid(leaf: Certificate, at: Date): void {
  if (at > leaf.notAfter)
    throw usage('certificate-expired', `${leaf.subject}: expired on ${isoDay(leaf.notAfter)}`, {
      hint: 'renew the code-signing certificate; if it should still be valid, check the clock of this machine',
    });
  if (at < leaf.notBefore)
    throw usage('certificate-not-yet-valid', `${leaf.subject}: not valid before ${isoDay(leaf.notBefore)}`, {
      hint: 'check the clock of this machine',
    });
}

function requireForCodeSigning(leaf: Certificate): void {
  const purpose = leaf.extendedKeyUsage?.includes(OID.codeSigning) ?? false;
  const signs = leaf.keyUsage?.has('digitalSignature') ?? true;
  if (purpose && signs) return;
  throw usage(
    'certificate-not-for-code-signing',
    `${leaf.subject}: the certificate was not issued for code signing`,
    {
      hint: 'use a certificate whose extended key usage has codeSigning and whose key usage has digitalSignature',
    },
  );
}

/** Throws `key-digest` (usage) unless the key signs digests of this kind. */
export function requireDigest({ digests, certificates: [leaf] }: SigningKey, digest: DigestName): void {
  if (digests?.includes(digest) ?? true) return;
  throw usage(
    'key-digest',
    `${leaf?.subject ?? 'the signing key'}: its key signs ${digests?.join(', ')} only, not ${digest}`,
    {
      hint: `set signing.digest to ${digests?.join(' or ')}`,
    },
  );
}
