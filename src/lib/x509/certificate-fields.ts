import {
  children,
  context,
  contextPrimitive,
  DerReader,
  parseDer,
  readBitString,
  readBoolean,
  readOctets,
  readOid,
  readSmallInteger,
  readTime,
  TAG,
  type Der,
} from '../asn1/der.ts';
import { OID } from '../asn1/oids.ts';
import { invalid } from '../errors.ts';

/** RFC 5280 section 4.2.1.3, by bit number. */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;

export type KeyUsage = (typeof KEY_USAGES)[number];

/** One extension of a certificate, its value still DER. */
export interface Extension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

/** The fields of a TBSCertificate that are in use. */
export interface TbsCertificate {
  readonly serial: Der;
  readonly issuer: Der;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly subject: Der;
  readonly subjectPublicKeyInfo: Der;
  readonly extensions: ReadonlyMap<string, Extension>;
}

/** Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue } (RFC 5280 section 4.1). */
export function readSignatureAlgorithm(der: Buffer): string {
  const reader = DerReader.of(der, 'certificate');
  reader.next(TAG.sequence);
  return readOid(new DerReader(reader.next(), 'certificate signature algorithm').next());
}

/** Reads the TBSCertificate of a certificate, DER (RFC 5280 section 4.1). */
export function readTbs(der: Buffer, what: string): TbsCertificate {
  const certificate = DerReader.of(der, what);
  const tbs = new DerReader(certificate.next(TAG.sequence), what);
  certificate.next(TAG.sequence);
  certificate.next(TAG.bitString);
  certificate.end();
  tbs.optional(context(0));
  const serial = tbs.next(TAG.integer);
  tbs.next(TAG.sequence);
  const issuer = tbs.next(TAG.sequence);
  const validity = new DerReader(tbs.next(TAG.sequence), what);
  const [notBefore, notAfter] = [readTime(validity.next(), what), readTime(validity.next(), what)];
  validity.end();
  const subject = tbs.next(TAG.sequence);
  const subjectPublicKeyInfo = tbs.next(TAG.sequence);
  tbs.optional(contextPrimitive(1));
  tbs.optional(contextPrimitive(2));
  const extensions = readExtensions(tbs.optional(context(3)), what);
  tbs.end();
  return { serial, issuer, notBefore, notAfter, subject, subjectPublicKeyInfo, extensions };
}

function readExtensions(wrapped: Der | undefined, what: string): Map<string, Extension> {
  const result = new Map<string, Extension>();
  if (!wrapped) return result;
  for (const each of children(parseDer(wrapped.body, what), what)) {
    const reader = new DerReader(each, what);
    const oid = readOid(reader.next(), what);
    const critical = reader.optional(TAG.boolean);
    const value = readOctets(reader.next(), what);
    reader.end();
    if (result.has(oid)) throw invalid('certificate-malformed', `${what}: it has the extension ${oid} twice`);
    result.set(oid, { oid, critical: critical !== undefined && readBoolean(critical, what), value });
  }
  return result;
}

/** The purposes of an extended key usage extension; null if there is none. */
export function readPurposes(extensions: ReadonlyMap<string, Extension>, what: string): string[] | null {
  const extension = extensions.get(OID.extendedKeyUsage);
  return extension
    ? children(parseDer(extension.value, what), what).map((each) => readOid(each, what))
    : null;
}

/** The certificate policies (RFC 5280 section 4.2.1.4), without their qualifiers. */
export function readPolicies(extensions: ReadonlyMap<string, Extension>, what: string): string[] {
  const extension = extensions.get(OID.certificatePolicies);
  if (!extension) return [];
  return children(parseDer(extension.value, what), what).map((each) =>
    readOid(new DerReader(each, what).next(), what),
  );
}

/** The key usages; null if there is no such extension. */
export function readKeyUsage(extensions: ReadonlyMap<string, Extension>, what: string): Set<KeyUsage> | null {
  const extension = extensions.get(OID.keyUsage);
  if (!extension) return null;
  const { bytes } = readBitString(parseDer(extension.value, what), what);
  return new Set(KEY_USAGES.filter((_, bit) => (((bytes[bit >> 3] ?? 0) << (bit & 7)) & 0x80) !== 0));
}

/** The basic constraints; not an authority if there are none. */
export function readBasicConstraints(
  extensions: ReadonlyMap<string, Extension>,
  what: string,
): { isCa: boolean; pathLength: number | null } {
  const extension = extensions.get(OID.basicConstraints);
  if (!extension) return { isCa: false, pathLength: null };
  const reader = DerReader.of(extension.value, what);
  const ca = reader.optional(TAG.boolean);
  const path = reader.optional(TAG.integer);
  reader.end();
  return {
    isCa: ca !== undefined && readBoolean(ca, what),
    pathLength: path ? readSmallInteger(path, what) : null,
  };
}
