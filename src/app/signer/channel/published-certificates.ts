import { certificateIdentity } from '../../../lib/x509/certificate-identity.ts';
import type { SigningKey } from '../../../engine/keys/signing-key.ts';
import type { PublishedCertificate, PublishedPolicy } from '../../../protocol/control/published-policy.ts';
import type { Channel } from './channel.ts';

/** What the published policy says about a channel's certificates. */
export type PublishedCertificates = Pick<PublishedPolicy['channels'][string], 'certificate' | 'successor'>;

/** Of a short-lived certificate only the identity: the rest would change the policy every few days. */
function published({
  certificates: [leaf],
  shortLived = false,
}: SigningKey): PublishedCertificate | undefined {
  if (!leaf) return undefined;
  const identity = certificateIdentity(leaf);
  return shortLived ? { identity } : { identity, sha256: leaf.sha256, notAfter: leaf.notAfter.toISOString() };
}

/** The certificate with which a channel signs, and the next one, if it is configured and does not sign yet. */
export function publishedCertificates({ key, renewal }: Channel): PublishedCertificates {
  const certificate = published(key);
  const inUse = certificate ? { certificate } : {};
  if (!renewal || renewal.successor?.key === key) return inUse;
  const next = renewal.successor && published(renewal.successor.key);
  return {
    ...inUse,
    successor: { from: renewal.changesAt.toISOString(), ...(next ? { certificate: next } : {}) },
  };
}
