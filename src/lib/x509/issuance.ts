import type { Certificate } from './certificate.ts';

/** Whether two certificates are of the same authority: a path through both would be a circle. */
export const sameHolder = (one: Certificate, other: Certificate): boolean =>
  one.sha256 === other.sha256 ||
  (one.subjectDer.equals(other.subjectDer) && one.publicKeyDer.equals(other.publicKeyDer));

/** Only for speed: pairs of a certificate and its issuer (SHA-256 of both) whose signature was verified. */
const verifiedPairs = new Set<string>();
const MAX_PAIRS = 1000;

/** Whether `issuer`'s key signed `certificate`. Positive results are cached: every program has the same few pairs. */
export function signatureHolds(certificate: Certificate, issuer: Certificate): boolean {
  const pair = `${certificate.sha256} ${issuer.sha256}`;
  if (verifiedPairs.has(pair)) return true;
  const holds = verifies(certificate, issuer);
  if (holds && verifiedPairs.size < MAX_PAIRS) verifiedPairs.add(pair);
  return holds;
}

/** Whether a certificate names the issuer, and the issuer's key signed it. Nothing else is checked. */
export const isIssuedBy = (certificate: Certificate, issuer: Certificate): boolean =>
  certificate.issuerDer.equals(issuer.subjectDer) && signatureHolds(certificate, issuer);

function verifies(certificate: Certificate, issuer: Certificate): boolean {
  try {
    return certificate.x509.verify(issuer.publicKey);
  } catch {
    // OpenSSL throws if the key is of another type than the signature.
    return false;
  }
}
