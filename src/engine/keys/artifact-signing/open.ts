import { createHash, randomBytes, verify } from 'node:crypto';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { usage } from '../../../lib/errors.ts';
import {
  certificateIdentity,
  identityText,
  isSameIdentity,
  type CertificateIdentity,
} from '../../../lib/x509/certificate-identity.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { orderChain } from '../../../lib/x509/chain-order.ts';
import { readCertificates } from '../certificate-file.ts';
import { createAzureCredential } from '../cloud/azure-credential.ts';
import { loadSdk } from '../cloud/load-sdk.ts';
import { ServiceCalls } from '../cloud/service-calls.ts';
import { externalKey } from '../external-key.ts';
import { leafOf } from '../leaf-certificate.ts';
import { algorithmOf, requireUsable, type SigningKey } from '../signing-key.ts';
import type { UriKeyOptions } from '../uri-key-options.ts';
import { explainArtifactSigning } from './operation.ts';
import { ArtifactSigningService, type ServiceSignature } from './service.ts';
import { parseArtifactSigningUri } from './uri.ts';

/** Signatures in flight unless configured. */
const CONCURRENCY = 8;
/** For one attempt, in milliseconds: submitting, and asking for the result. */
const TIMEOUT = 60_000;

/** Throws `key-identity-changed` (usage) if a certificate is of another publisher than expected. */
function requireIdentity(leaf: Certificate, expected: CertificateIdentity, what: string): void {
  const identity = certificateIdentity(leaf);
  if (isSameIdentity(identity, expected)) return;
  throw usage(
    'key-identity-changed',
    `${what}: signs as ${identityText(identity)}, and not as ${identityText(expected)}`,
    {
      hint: 'if the publisher was renamed on purpose, restart or reload the signer and inform those who check identities; else find out who changed the profile',
    },
  );
}

/** How much the clocks of the service and of this machine may differ, in milliseconds: certificates are minutes old. */
const CLOCK_TOLERANCE = 3_600_000;

/**
 * Throws usage errors unless programs can be signed now with the certificate of a signature: `key-unsupported`, and what
 * `requireUsable` throws.
 */
function requireCertificateFits(leaf: Certificate, what: string): void {
  if (leaf.publicKey.asymmetricKeyType !== 'rsa')
    throw usage('key-unsupported', `${what}: its certificate is not for an RSA key`, {
      hint: 'the service is asked for RSA signatures: choose a profile with such a key',
    });
  algorithmOf(leaf.publicKey, what);
  const now = Date.now();
  const begin = Math.min(leaf.notBefore.getTime(), now + CLOCK_TOLERANCE);
  requireUsable({ certificates: [leaf] }, new Date(Math.max(now, begin)));
}

/** Has random data signed: only that shows which certificate the service uses. Throws unless the signature verifies. */
async function tryOut(
  sign: (digest: Buffer) => Promise<ServiceSignature>,
  what: string,
): Promise<ServiceSignature> {
  const data = randomBytes(64);
  const signature = await sign(createHash('sha256').update(data).digest());
  const { leaf, value } = signature;
  requireCertificateFits(leaf, what);
  if (verify('sha256', data, leaf.publicKey, value)) return signature;
  throw usage(
    'key-signature-wrong',
    `${what}: its signature does not verify with the certificate that came with it`,
  );
}

/** The identity that `signing.certificate` pins; undefined if there is none. */
const pinnedIdentity = async (certificate: string | undefined): Promise<CertificateIdentity | undefined> =>
  certificate === undefined
    ? undefined
    : certificateIdentity(leafOf(await readCertificates(certificate), certificate));

/**
 * Opens a certificate profile of Azure Artifact Signing. Each signature comes with a certificate of its own, which lives for
 * three days: it must have the identity of the first one, and of `certificate` if that is given.
 *
 * Throws `key-uri`, `key-sdk-missing`, `key-sdk-unusable`, `key-identity-changed`, `key-signature-wrong`, the codes of
 * `serviceError`, `requireCertificateFits` and `externalKey`.
 */
export async function openArtifactSigningKey({
  uri,
  certificate,
  concurrency = CONCURRENCY,
  keyTimeout: timeoutMs = TIMEOUT,
}: UriKeyOptions): Promise<SigningKey> {
  const { url, account, profile } = parseArtifactSigningUri(uri);
  const what = `the profile ${profile} of ${account}`;
  const pinned = await pinnedIdentity(certificate);
  const identity = await loadSdk(['@azure/identity'], () => import('@azure/identity'));
  const credential = createAzureCredential(identity);
  const service = new ArtifactSigningService({ url, credential, what, timeoutMs });
  const calls = new ServiceCalls({ what, timeoutMs, explain: explainArtifactSigning });
  try {
    const first = await tryOut(
      (digest) => calls.run((signal) => service.sign('sha256', digest, signal)),
      what,
    );
    const expected = certificateIdentity(first.leaf);
    if (pinned) requireIdentity(first.leaf, pinned, what);
    const signer = {
      concurrency,
      shortLived: true,
      signDigest: async (hash: DigestName, digest: Buffer) => {
        const { value, leaf, others } = await calls.run((signal) => service.sign(hash, digest, signal));
        requireIdentity(leaf, expected, what);
        requireCertificateFits(leaf, what);
        return { value, certificates: orderChain(leaf, others) };
      },
      // eslint-disable-next-line require-await -- the interface is asynchronous
      close: async () => calls.close(),
    };
    return externalKey(signer, { leaf: first.leaf, others: first.others, what });
  } catch (error) {
    calls.close();
    throw error;
  }
}
