import { createHash } from 'node:crypto';
import type { DigestName } from '../../lib/asn1/oids.ts';
import { answeredNow, isRefused, SignpipeError } from '../../lib/errors.ts';
import { Semaphore } from '../../lib/concurrency/semaphore.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { issuerMissing, orderChain } from '../../lib/x509/chain-order.ts';
import { algorithmOf, keyClosed, requireDigest, type KeySignature, type SigningKey } from './signing-key.ts';

/** What makes signatures outside of this process: a token, a service, another program. */
export interface ExternalSigner {
  /** How many calls of `signDigest` may be in flight; at least 1. */
  readonly concurrency: number;
  /** See `SigningKey.shortLived`. */
  readonly shortLived?: boolean;
  /** See `SigningKey.digests`. */
  readonly digests?: readonly DigestName[];
  /**
   * Signs a digest. Resolves to a PKCS#1 v1.5 signature over the DigestInfo (RFC 8017, 9.2) or a DER ECDSA-Sig-Value, and
   * to the certificates that came with it, if the service sends some. `data` is what the digest is of, for signers that
   * make the digest themselves.
   */
  signDigest(
    hash: DigestName,
    digest: Buffer,
    data: Buffer,
  ): Promise<{ readonly value: Buffer; readonly certificates?: readonly Certificate[] }>;
  /** See `SigningKey.available`. */
  available?(): Promise<void>;
  /** Called once. */
  close(): Promise<void>;
}

/** An answer that is broken is a fault of the key: an error of kind `invalid` would reject the request. */
const answeredByKey = (error: unknown): unknown =>
  isRefused(error)
    ? new SignpipeError(
        'local',
        'key-signature-wrong',
        `the answer of the signing key cannot be used: ${error.message}`,
        { cause: error },
      )
    : answeredNow(error);

class ExternalKey implements SigningKey {
  readonly concurrency: number;
  readonly shortLived: boolean | undefined;
  readonly available?: () => Promise<void>;
  readonly digests: readonly DigestName[] | undefined;
  private readonly inFlight: Semaphore;
  private closed: Promise<void> | undefined;
  /** The last call that failed. */
  private failure: { readonly error: unknown } | undefined;

  constructor(
    readonly certificates: readonly Certificate[],
    readonly algorithm: 'rsa' | 'ecdsa',
    readonly missingIssuer: string | undefined,
    private readonly signer: ExternalSigner,
  ) {
    this.concurrency = signer.concurrency;
    this.shortLived = signer.shortLived;
    this.digests = signer.digests;
    this.inFlight = new Semaphore(signer.concurrency);
    const available = signer.available?.bind(signer);
    if (available)
      this.available = () =>
        available().catch((error: unknown) => {
          throw answeredNow(error);
        });
  }

  async sign(hash: DigestName, data: Buffer): Promise<KeySignature> {
    requireDigest(this, hash);
    const digest = createHash(hash).update(data).digest();
    const before = this.failure;
    return this.inFlight.run(async () => {
      if (this.closed) throw keyClosed();
      // A wrong PIN must not be tried once for every program of a zip: what waited while a call failed fails with it.
      if (this.failure && this.failure !== before) throw this.failure.error;
      return { certificates: this.certificates, ...(await this.attempt(hash, digest, data)) };
    });
  }

  private async attempt(
    hash: DigestName,
    digest: Buffer,
    data: Buffer,
  ): ReturnType<ExternalSigner['signDigest']> {
    try {
      return await this.signer.signDigest(hash, digest, data);
    } catch (error) {
      const failure = { error: answeredByKey(error) };
      this.failure = failure;
      throw failure.error;
    }
  }

  async close(): Promise<void> {
    await (this.closed ??= this.signer.close());
  }
}

/**
 * Makes a signing key of what signs digests outside of this process. `leaf` is the certificate of the private key;
 * `others` are certificates in any order, of which its issuers are taken. `what` names the key in messages.
 *
 * Throws `key-unsupported` or `key-too-weak`.
 */
export function externalKey(
  signer: ExternalSigner,
  {
    leaf,
    others,
    what,
  }: { readonly leaf: Certificate; readonly others: readonly Certificate[]; readonly what: string },
): SigningKey {
  const chain = orderChain(leaf, others);
  return new ExternalKey(chain, algorithmOf(leaf.publicKey, what), issuerMissing(chain, others), signer);
}
