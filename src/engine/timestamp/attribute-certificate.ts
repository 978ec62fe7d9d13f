import {
  children,
  context,
  DerReader,
  readBitString,
  readOid,
  readTime,
  TAG,
  tlv,
  type Der,
} from '../../lib/asn1/der.ts';
import { digestName } from '../../lib/asn1/oids.ts';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import { readAlgorithm, type SignerInfo } from '../../lib/cms/signed-data.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { hasSeveralEssCertIds, isInEssCertIds, isDigestOf } from './ess-cert-id.ts';

/** The longest attribute certificates that are accepted, in bytes: Microsoft's have 700 to 950. */
const LONGEST = 2048;
const LONGEST_UNBOUND = 1024;

/** Symmetricom's attributes about a clock; those that Microsoft's authorities send have no others. */
const CLOCK_ATTRIBUTES = '1.3.6.1.4.1.601.10.4.';

/**
 * Whether a value is an attribute certificate (RFC 5755 section 4.1; of RFC 5652's choices, also under the
 * tag of version 1, as Microsoft's authorities have it) of the authority that made a timestamp, by which it
 * says how its clock is kept. The signed attributes bind it. Microsoft's of 2019 bind another one than they send
 * along, and its issuer's key is not in the token, so that nothing covers it: such a one is accepted if another
 * one is bound, and if it is short, holds nothing but a clock's attributes, and names the authority's certificate
 * by its digest.
 */
export function isAttributeCertificateOf(
  value: Der,
  authority: Certificate,
  signer: SignerInfo,
  what: string,
): boolean {
  const attribute = value.tag === context(1) || value.tag === context(2);
  if (!attribute || value.raw.length > LONGEST) return false;
  if (isInEssCertIds(signer, tlv(TAG.sequence, value.body), what)) return true;
  if (value.raw.length > LONGEST_UNBOUND || !hasSeveralEssCertIds(signer, what)) return false;
  try {
    return isHolder(readHolder(value, what), authority, what);
  } catch (error) {
    if (error instanceof SignpipeError && error.kind === 'invalid') return false;
    throw error;
  }
}

/** `SEQUENCE { acinfo, signatureAlgorithm, signatureValue BIT STRING }`: its holder, all else being what belongs there. */
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
      throw invalid('der-malformed', `${what}: an attribute certificate about something else than a clock`);
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

/** `publicKeyCert` among the kinds of object that may be digested. */
const WHOLE_CERTIFICATE = 1;

/** `ObjectDigestInfo ::= SEQUENCE { ENUMERATED, otherObjectTypeID OPTIONAL, AlgorithmIdentifier, BIT STRING }`. */
function isObjectDigest(info: Der, certificate: Certificate, what: string): boolean {
  const reader = new DerReader(info, what, context(2));
  const kind = reader.next(TAG.enumerated).body;
  const hash = digestName(readAlgorithm(reader.next(), what));
  const { bytes } = readBitString(reader.next(), what);
  reader.end();
  if (hash === undefined || hash === 'md5' || !kind.equals(Buffer.from([WHOLE_CERTIFICATE]))) return false;
  return isDigestOf({ hash, digest: bytes }, certificate.raw);
}
