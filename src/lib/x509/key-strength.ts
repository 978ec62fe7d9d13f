import { DerReader, readOid, TAG } from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import type { Certificate } from './certificate.ts';

const MIN_RSA_BITS = 2048;

/** Named curves of 256 bits or more: NIST's (RFC 5480), secp256k1 (SEC 2), Brainpool's (RFC 5639). */
const CURVES: ReadonlySet<string> = new Set<string>([
  OID.p256,
  OID.p384,
  OID.p521,
  '1.3.132.0.10',
  ...[7, 8, 9, 10, 11, 12, 13, 14].map((n) => `1.3.36.3.3.2.8.1.1.${n}`),
]);

/**
 * Why a certificate's key is too weak to be trusted, as the rest of a sentence; null if it is strong enough. A root
 * may have a shorter RSA key, since giving it as a root is a decision to trust it.
 */
export function keyWeakness(certificate: Certificate, isRoot: boolean): string | null {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = certificate.publicKey;
  if (type === 'ec') return curveWeakness(certificate);
  if (type === 'ed25519' || type === 'ed448') return null;
  if (type !== 'rsa' && type !== 'rsa-pss') return `has a key of an unsuitable type (${type ?? 'unknown'})`;
  const bits = details?.modulusLength ?? 0;
  return isRoot || bits >= MIN_RSA_BITS ? null : `has an RSA key of only ${bits} bits`;
}

/**
 * ECParameters must name a curve (RFC 5480 section 2.1.1). If they describe one instead, an attacker can choose the
 * base point, and with it a private key that fits a known public key (CVE-2020-0601).
 */
function curveWeakness(certificate: Certificate): string | null {
  const what = 'public key';
  const algorithm = new DerReader(DerReader.of(certificate.publicKeyDer, what).next(TAG.sequence), what);
  algorithm.next();
  const parameters = algorithm.optional(TAG.oid);
  if (!parameters) return 'has an elliptic-curve key with explicit parameters';
  const curve = readOid(parameters, what);
  return CURVES.has(curve) ? null : `has a key on a curve that is not strong enough (${curve})`;
}
