import { sign as signWithCallback, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { OID, type DigestName } from '../../lib/asn1/oids.ts';
import { SignpipeError, usage } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { issuerMissing, orderChain } from '../../lib/x509/chain-order.ts';

/**
 * A key that can sign programs, wherever it lives. It is handed data rather than a digest, because
 * that is what node:crypto can do for ECDSA; a token or a remote service hashes first, behind this.
 */
export interface SigningKey {
  /** Leaf first, then the intermediates in order; the root is left out unless it is the leaf itself. */
  readonly certificates: readonly Certificate[];
  readonly algorithm: 'rsa' | 'ecdsa';
  /** The name of the leaf's issuer, if no certificate of that name came along. */
  readonly missingIssuer?: string | undefined;
  /** A PKCS#1 v1.5 signature (RFC 8017, 8.2) or a DER ECDSA-Sig-Value (RFC 3279, 2.2.3) over `data`. */
  sign(hash: DigestName, data: Buffer): Promise<Buffer>;
  /** Lets go of the key; signing afterwards throws `key-closed`. */
  close(): Promise<void>;
}

/** The curves that Windows verifies Authenticode signatures with. */
const CURVES = new Set(['prime256v1', 'secp384r1', 'secp521r1']);

/** The shortest RSA modulus accepted, in bits: what the CA/Browser Forum has long asked at the least. */
const SHORTEST_RSA = 2048;

const signAsync = promisify<string, Buffer, KeyObject, Buffer>(signWithCallback);

/** Throws `key-unsupported` or `key-too-weak` unless Authenticode can be signed with this key. */
function algorithmOf(key: KeyObject, what: string): 'rsa' | 'ecdsa' {
  const details = key.asymmetricKeyDetails;
  if (key.asymmetricKeyType === 'rsa') {
    const bits = details?.modulusLength ?? 0;
    if (bits >= SHORTEST_RSA) return 'rsa';
    throw usage('key-too-weak', `${what}: its RSA key has ${bits} bits, fewer than ${SHORTEST_RSA}`, {
      hint: 'Have a certificate issued for an RSA key of 3072 bits or more, or for P-256 or P-384',
    });
  }
  if (key.asymmetricKeyType === 'ec' && CURVES.has(details?.namedCurve ?? '')) return 'ecdsa';
  const kind = [key.asymmetricKeyType, details?.namedCurve].filter(Boolean).join(' ');
  throw usage('key-unsupported', `${what}: a key of type ${kind} cannot sign programs`, {
    hint:
      key.asymmetricKeyType === 'rsa-pss'
        ? 'Windows takes no RSASSA-PSS signatures on programs: have a certificate issued for an ordinary RSA key'
        : 'Use RSA of 2048 bits or more, or ECDSA on P-256, P-384 or P-521',
  });
}

/** A private key in this process's memory. Signatures are made on the thread pool. */
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

  async sign(hash: DigestName, data: Buffer): Promise<Buffer> {
    if (this.key) return signAsync(hash, data, this.key);
    throw new SignpipeError('local', 'key-closed', 'the signing key has been closed already');
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async close(): Promise<void> {
    this.key = null;
  }
}

/** Whether the certificate speaks of exactly this private key. */
export const matches = (certificate: Certificate, key: KeyObject): boolean =>
  certificate.x509.checkPrivateKey(key);

/**
 * A signing key from a private key and the certificates found beside it, in any order. The one that
 * matches the key becomes the leaf (the first of them, and of several the one valid longest); its
 * issuers follow; the root and unrelated ones are dropped.
 *
 * Throws `key-unsupported`, `key-too-weak`, or `key-does-not-match` when no certificate is this key's.
 */
export function signingKey(key: KeyObject, certificates: readonly Certificate[], what: string): SigningKey {
  const algorithm = algorithmOf(key, what);
  const [leaf] = certificates
    .filter((certificate) => matches(certificate, key))
    .sort((a, b) => b.notAfter.getTime() - a.notAfter.getTime());
  if (!leaf)
    throw usage('key-does-not-match', `${what}: none of the certificates belongs to the private key`, {
      hint: 'Put the certificate and the key that were made together in one place',
    });
  const chain = orderChain(leaf, certificates);
  return new MemoryKey(key, algorithm, chain, issuerMissing(chain, certificates));
}

const day = (date: Date): string => date.toISOString().slice(0, 10);

/**
 * Refuses, before any work begins, a key whose certificate would give signatures that Windows rejects:
 * `certificate-expired`, `certificate-not-yet-valid`, `certificate-not-for-code-signing` (RFC 5280,
 * 4.2.1.3 and 4.2.1.12).
 */
export function requireUsable(key: SigningKey, at: Date): void {
  const [leaf] = key.certificates;
  if (!leaf) throw usage('key-does-not-match', 'the signing key has no certificate');
  if (at > leaf.notAfter)
    throw usage('certificate-expired', `${leaf.subject}: expired on ${day(leaf.notAfter)}`, {
      hint: 'Renew the code-signing certificate; check the clock of this machine if it should be valid',
    });
  if (at < leaf.notBefore)
    throw usage('certificate-not-yet-valid', `${leaf.subject}: not valid before ${day(leaf.notBefore)}`, {
      hint: 'Check the clock of this machine',
    });
  const purpose = leaf.extendedKeyUsage?.includes(OID.codeSigning) ?? false;
  const signs = leaf.keyUsage?.has('digitalSignature') ?? true;
  if (purpose && signs) return;
  throw usage(
    'certificate-not-for-code-signing',
    `${leaf.subject}: the certificate was not issued for code signing`,
    { hint: 'Its extended key usage must name codeSigning, and its key usage digitalSignature' },
  );
}
