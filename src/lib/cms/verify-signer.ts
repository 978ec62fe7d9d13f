import { createHash, verify, type KeyObject } from 'node:crypto';
import { readOctets, readOid } from '../asn1/der.ts';
import { digestName, OID, type KnownDigest } from '../asn1/oids.ts';
import { invalid, messageOf, SignpipeError } from '../errors.ts';
import type { Certificate } from '../x509/certificate.ts';
import { singleAttribute, type SignerInfo } from './signed-data.ts';

interface SignatureAlgorithm {
  /** The type of its key, as node:crypto names it. */
  readonly key: 'rsa' | 'ec';
  /** The digest that it names; without one, the SignerInfo's counts. */
  readonly digest?: KnownDigest;
}

/** Signature algorithms that a SignerInfo may name: RFC 3370, RFC 5754. */
const SIGNATURE_ALGORITHMS: ReadonlyMap<string, SignatureAlgorithm> = new Map<string, SignatureAlgorithm>([
  [OID.rsaEncryption, { key: 'rsa' }],
  [OID.sha1WithRsa, { key: 'rsa', digest: 'sha1' }],
  [OID.sha256WithRsa, { key: 'rsa', digest: 'sha256' }],
  [OID.sha384WithRsa, { key: 'rsa', digest: 'sha384' }],
  [OID.sha512WithRsa, { key: 'rsa', digest: 'sha512' }],
  [OID.ecPublicKey, { key: 'ec' }],
  [OID.ecdsaWithSha1, { key: 'ec', digest: 'sha1' }],
  [OID.ecdsaWithSha256, { key: 'ec', digest: 'sha256' }],
  [OID.ecdsaWithSha384, { key: 'ec', digest: 'sha384' }],
  [OID.ecdsaWithSha512, { key: 'ec', digest: 'sha512' }],
]);

/** The digest that a SignerInfo uses; throws `cms-digest-unknown`. */
export function signerDigest(signer: SignerInfo, what: string): KnownDigest {
  const name = digestName(signer.digestAlgorithm);
  if (!name)
    throw invalid('cms-digest-unknown', `${what}: unknown digest algorithm ${signer.digestAlgorithm}`);
  return name;
}

/** RFC 5652 section 11.1: the contentType attribute must name the type of the content. */
export function checkContentType(signer: SignerInfo, contentType: string, what: string): void {
  const value = singleAttribute(signer.signedAttributes, OID.contentType, what);
  const statedType = value && readOid(value, what);
  if (statedType !== contentType)
    throw invalid(
      'cms-content-type',
      `${what}: the contentType attribute says ${statedType ?? 'nothing'}, the content is ${contentType}`,
    );
}

/** RFC 5652 section 11.2: the messageDigest attribute must be the digest of `content`'s octets. */
export function checkMessageDigest(signer: SignerInfo, content: Buffer, what: string): void {
  const value = singleAttribute(signer.signedAttributes, OID.messageDigest, what);
  const actual = createHash(signerDigest(signer, what)).update(content).digest();
  if (!value || !readOctets(value, what).equals(actual))
    throw invalid(
      'cms-message-digest',
      `${what}: the messageDigest attribute is not the digest of the content`,
    );
}

/**
 * Checks with `key` the signature value over the signed attributes, or over `content` if there are none; throws
 * `cms-signature-...`. Whether the attributes match the content is for the other checks.
 */
export function checkSignature(signer: SignerInfo, key: KeyObject, content: Buffer, what: string): void {
  const digest = signerDigest(signer, what);
  const algorithm = SIGNATURE_ALGORITHMS.get(signer.signatureAlgorithm);
  if (algorithm?.digest !== undefined && algorithm.digest !== digest)
    throw invalid(
      'cms-signature-algorithm',
      `${what}: the signature algorithm's digest is ${algorithm.digest}, the signer's is ${digest}`,
    );
  if (!algorithm || key.asymmetricKeyType !== algorithm.key)
    throw invalid(
      'cms-signature-algorithm',
      `${what}: signature algorithm ${signer.signatureAlgorithm} with a key of type ${key.asymmetricKeyType ?? 'unknown'}`,
    );
  if (!verify(digest, signer.signedAttributesDer ?? content, key, signer.signature))
    throw invalid('cms-signature-wrong', `${what}: the signature does not match the signed attributes`);
}

/**
 * Checks everything that a SignerInfo states about a content: the contentType and messageDigest attributes and the
 * signature. `content` is eContent's octets without tag and length (RFC 5652 section 5.4).
 */
export function verifySigner(
  signer: SignerInfo,
  certificate: Certificate,
  contentType: string,
  content: Buffer,
  what: string,
): void {
  try {
    if (signer.signedAttributesDer) {
      checkContentType(signer, contentType, what);
      checkMessageDigest(signer, content, what);
    }
    checkSignature(signer, certificate.publicKey, content, what);
  } catch (error) {
    if (error instanceof SignpipeError) throw error;
    throw invalid('cms-signature-wrong', `${what}: the signature cannot be checked: ${messageOf(error)}`, {
      cause: error,
    });
  }
}
