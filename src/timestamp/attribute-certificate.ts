import { context, DerReader, readBitString, readTime, TAG, tlv, type Der } from '../asn1/der.ts';
import { digestName } from '../asn1/oids.ts';
import { SignpipeError } from '../errors.ts';
import { readAlgorithm, type SignerInfo } from '../cms/signed-data.ts';
import type { Certificate } from '../x509/certificate.ts';
import { isBoundCertificate, isDigestOf } from './certificate-binding.ts';

/** None that an authority sends along comes near, in bytes. */
const LONGEST = 2048;

/**
 * Whether a value is an attribute certificate (RFC 5755 section 4.1; of RFC 5652's choices, also under the
 * tag of version 1, as Microsoft's authorities have it) of the authority that made a timestamp: its holder
 * is the authority's certificate, by digest, or else the signed attributes bind it. Who issued it is not
 * asked: authorities tell by it how their clock is kept, and nobody needs it to verify a timestamp.
 * Microsoft's of 2018 and 2019 bind another one than they send along.
 */
export function isAttributeCertificateOf(
  value: Der,
  authority: Certificate,
  signer: SignerInfo,
  what: string,
): boolean {
  const attribute = value.tag === context(1) || value.tag === context(2);
  if (!attribute || value.raw.length > LONGEST) return false;
  if (isBoundCertificate(signer, tlv(TAG.sequence, value.body), what)) return true;
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
  information.next(TAG.sequence);
  information.optional(TAG.bitString);
  information.optional(TAG.sequence);
  information.end();
  return holder;
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
