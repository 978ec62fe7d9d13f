import type { KeyObject } from 'node:crypto';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { usage } from '../../../lib/errors.ts';
import { latestExpiryFirst } from '../../../lib/x509/expiry.ts';
import { readCertificates } from '../certificate-file.ts';
import { requireCertificate } from '../command/command-line.ts';
import { externalKey } from '../external-key.ts';
import type { UriKeyOptions } from '../uri-key-options.ts';
import { KeyUnavailable, type SigningKey } from '../signing-key.ts';
import { serviceError } from './service-errors.ts';
import { ServiceCalls, type ServiceCallOptions } from './service-calls.ts';

/** Signatures in flight unless configured: at 80 ms each, 400 in a second, below the quotas of AWS. */
const CONCURRENCY = 32;
/** For one attempt at a call, in milliseconds; usual are 50 to 500. */
const TIMEOUT = 15_000;

/** A private key in a service. */
export interface CloudKey {
  readonly publicKey: KeyObject;
  /** The digests of which the service makes signatures with this key. */
  readonly digests: readonly DigestName[];
  /** One attempt: a PKCS#1 v1.5 signature over the DigestInfo, or a DER ECDSA-Sig-Value. */
  signDigest(hash: DigestName, digest: Buffer, signal: AbortSignal): Promise<Buffer>;
}

/** A connection to a service. */
export interface CloudService extends Pick<ServiceCallOptions, 'explain'> {
  /** Reads the public key and checks that the private key can sign: one attempt. */
  findKey(signal: AbortSignal): Promise<CloudKey>;
  /** Closes the connections. */
  close(): void;
}

/** Limits for a service's client. */
export interface ClientLimits {
  readonly concurrency: number;
  readonly timeoutMs: number;
}

/**
 * Opens a key in a service: reads the certificates, asks the service for the public key, and checks that they belong
 * together. `connect` makes the service's client, without asking it anything yet.
 *
 * Throws `key-missing`, `key-does-not-match`, what `readCertificates` and `externalKey` throw, and the codes of
 * `serviceError`; when signing also `key-digest`.
 */
export async function openCloudKey(
  { certificate, concurrency = CONCURRENCY, keyTimeout = TIMEOUT }: UriKeyOptions,
  what: string,
  connect: (limits: ClientLimits) => Promise<CloudService>,
): Promise<SigningKey> {
  const path = requireCertificate(what, certificate);
  const certificates = await readCertificates(path);
  const service = await connect({ concurrency, timeoutMs: keyTimeout });
  const calls = new ServiceCalls({ what, explain: service.explain, timeoutMs: keyTimeout });
  const close = (): void => {
    calls.close();
    service.close();
  };
  try {
    const key = await calls.run((signal) => service.findKey(signal));
    const [leaf] = certificates
      .filter(({ publicKey }) => publicKey.equals(key.publicKey))
      .toSorted(latestExpiryFirst);
    if (!leaf)
      throw usage('key-does-not-match', `${path}: none of the certificates belongs to ${what}`, {
        hint: 'give the certificate that was issued for this key, or name the version of the key that it was issued for',
      });
    const signer = {
      concurrency,
      digests: key.digests,
      signDigest: async (hash: DigestName, digest: Buffer) => ({
        value: await calls.run((signal) => key.signDigest(hash, digest, signal)),
      }),
      available: () => isThere(calls, service),
      // eslint-disable-next-line require-await -- the interface is asynchronous
      close: async () => close(),
    };
    return externalKey(signer, { leaf, others: certificates, what });
  } catch (error) {
    close();
    throw error;
  }
}

/** Asks for the public key once, which costs nothing. Other errors than `KeyUnavailable` are left to the next signature. */
async function isThere(calls: ServiceCalls, service: CloudService): Promise<void> {
  try {
    await calls.once((signal) => service.findKey(signal));
  } catch (error) {
    if (error instanceof KeyUnavailable) throw error;
  }
}

/** Reads a public key as a service answered it. Throws `key-not-for-signing` for a kind that Node does not know. */
export function readPublicKey(what: string, kind: string, read: () => KeyObject): KeyObject {
  try {
    return read();
  } catch {
    throw serviceError(what, { problem: 'unsuitable', said: `its kind is ${kind}` });
  }
}
