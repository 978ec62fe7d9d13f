import {
  children,
  context,
  DerReader,
  readBitString,
  readOid,
  readTime,
  TAG,
  type Der,
} from '../../../lib/asn1/der.ts';
import { tlv } from '../../../lib/asn1/encode-der.ts';
import { digestName } from '../../../lib/asn1/oids.ts';
import { invalid, isInvalid } from '../../../lib/errors.ts';
import { readAlgorithm, type SignerInfo } from '../../../lib/cms/signed-data.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { hasSeveralEssCertIds, isInEssCertIds, isDigestOf } from './ess-cert-id.ts';

/** The largest attribute certificates that are accepted, in bytes: Microsoft's have 700 to 950. */
const MAX_SIZE = 2048;
const MAX_UNBOUND_SIZE = 1024;

/** Symmetricom's attributes about a clock. Attribute certificates from Microsoft's authorities have no others. */
const CLOCK_ATTRIBUTES = '1.3.6.1.4.1.601.10.4.';

/**
 * Whether a value is the attribute certificate (RFC 5755, 4.1; also under RFC 5652's tag for version 1, which
 * Microsoft's authorities use) that states how the clock of a timestamp's authority is set. Normally an ESSCertID
 * in the signed attributes covers it. Microsoft's tokens of 2019 include an attribute certificate other than the
 * covered one, and not the key of its issuer, so that no signature covers it. Such a certificate is accepted if the signed
 * attributes cover another one, and if it is small, has only attributes about a clock, and names the authority's
 * certificate by its digest.
 */
export function isAttributeCertificateOf(
  value: Der,
  authority: Certificate,
  signer: SignerInfo,
  what: string,
): boolean {
  const attribute = value.tag === context(1) || value.tag === context(2);
  if (!attribute || value.raw.length > MAX_SIZE) return false;
  if (isInEssCertIds(signer, tlv(TAG.sequence, value.body), what)) return true;
  if (value.raw.length > MAX_UNBOUND_SIZE || !hasSeveralEssCertIds(signer, what)) return false;
  try {
    return isHolder(readHolder(value, what), authority, what);
  } catch (error) {
    if (isInvalid(error)) return false;
    throw error;
  }
}

/** Returns the holder in `SEQUENCE { acinfo, signatureAlgorithm, signatureValue BIT STRING }`, and checks the other fields. */
function readHolder(value: Der, what: string): Der {
  const reader = new DerReader(value, what, value.tag);
  const information = new DerReader(reader.next(TAG.sequence), what);
  reader.next(TAG.sequence);
  readBitString(reader.next(), what);
  reader.end();
  information.next(TAG.integer);
  const holder = information.next(TAG.sequence);
  information.next(context(0));
  information.next(TAG.sequence);
  information.next(TAG.integer);
  readValidity(information.next(TAG.sequence), what);
  requireClockAttributes(information.next(TAG.sequence), what);
  information.end();
  return holder;
}

function requireClockAttributes(attributes: Der, what: string): void {
  for (const attribute of children(attributes, what)) {
    const reader = new DerReader(attribute, what);
    if (!readOid(reader.next(), what).startsWith(CLOCK_ATTRIBUTES))
      throw invalid(
        'der-malformed',
        `${what}: an attribute certificate has an attribute that is not about a clock`,
      );
    reader.next(TAG.set);
    reader.end();
  }
}

function readValidity(validity: Der, what: string): void {
  const reader = new DerReader(validity, what);
  readTime(reader.next(TAG.generalizedTime), what);
  readTime(reader.next(TAG.generalizedTime), what);
  reader.end();
}

/** `Holder ::= SEQUENCE { baseCertificateID [0], entityName [1], objectDigestInfo [2] }`, each OPTIONAL. */
function isHolder(holder: Der, certificate: Certificate, what: string): boolean {
  const reader = new DerReader(holder, what);
  reader.optional(context(0));
  reader.optional(context(1));
  const digest = reader.optional(context(2));
  reader.end();
  return digest !== undefined && isObjectDigest(digest, certificate, what);
}

/** `publicKeyCert` in the ENUMERATED `digestedObjectType`. */
const PUBLIC_KEY_CERT = 1;

/** `ObjectDigestInfo ::= SEQUENCE { ENUMERATED, otherObjectTypeID OPTIONAL, AlgorithmIdentifier, BIT STRING }`. */
function isObjectDigest(info: Der, certificate: Certificate, what: string): boolean {
  const reader = new DerReader(info, what, context(2));
  const kind = reader.next(TAG.enumerated).body;
  const hash = digestName(readAlgorithm(reader.next(), what));
  const { bytes } = readBitString(reader.next(), what);
  reader.end();
  if (hash === undefined || hash === 'md5' || !kind.equals(Buffer.from([PUBLIC_KEY_CERT]))) return false;
  return isDigestOf({ hash, digest: bytes }, certificate.raw);
}
