import {
  children,
  context,
  contextPrimitive,
  DerReader,
  expectTag,
  parseDer,
  readOctets,
  readOid,
  readSmallInteger,
  readTime,
  TAG,
  type Der,
} from '../asn1/der.ts';
import { tlv } from '../asn1/encode-der.ts';
import { OID } from '../asn1/oids.ts';
import { invalid } from '../errors.ts';
import { Certificate } from '../x509/certificate.ts';

/** An Attribute (RFC 5652 section 5.3): a type, and its values in DER. */
export interface Attribute {
  readonly oid: string;
  readonly values: readonly Der[];
  /** The whole Attribute, DER. */
  readonly raw: Buffer;
}

/** SignerInfo (RFC 5652 section 5.3). */
export interface SignerInfo {
  readonly version: number;
  /** Either issuer and serial (DER), or a subject key identifier. */
  readonly issuer: Buffer | null;
  readonly serial: Buffer | null;
  readonly subjectKeyIdentifier: Buffer | null;
  readonly digestAlgorithm: string;
  readonly signedAttributes: readonly Attribute[];
  /** The DER that the signature covers: the attributes under the SET tag; null if there are none. */
  readonly signedAttributesDer: Buffer | null;
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
  readonly unsignedAttributes: readonly Attribute[];
  /** Its components, in order. */
  readonly fields: readonly Der[];
}

/** SignedData (RFC 5652 section 5.1; RFC 2315 for Authenticode, whose content is not an OCTET STRING). */
export interface SignedData {
  readonly version: number;
  readonly digestAlgorithms: readonly string[];
  readonly contentType: string;
  /** The value under eContent's `[0]`: an OCTET STRING in CMS, a SEQUENCE in Authenticode; null if detached. */
  readonly content: Der | null;
  readonly certificates: readonly Certificate[];
  readonly signers: readonly SignerInfo[];
  /** SignedData's components, in order. */
  readonly fields: readonly Der[];
}

/** Limits for SignedData from untrusted files. */
const MAX_CERTIFICATES = 100;
const MAX_SIGNERS = 16;

/** Parses a ContentInfo with SignedData, every byte; throws `der-malformed` or `cms-...`. */
export const parseSignedData = (der: Buffer, what: string): SignedData =>
  readContentInfo(parseDer(der, what), what);

const parsedData = new WeakMap<Der, SignedData>();

/** Parses a ContentInfo with SignedData that lies in another value, only once; throws as `parseSignedData` does. */
export function readSignedData(der: Der, what: string): SignedData {
  const data = parsedData.get(der) ?? readContentInfo(der, what);
  parsedData.set(der, data);
  return data;
}

function readContentInfo(der: Der, what: string): SignedData {
  const info = new DerReader(der, what);
  const type = readOid(info.next(), what);
  if (type !== OID.signedData)
    throw invalid('cms-not-signed-data', `${what}: content type ${type} is not SignedData`);
  const wrapped = info.next(context(0));
  info.end();
  const reader = DerReader.of(wrapped.body, what);
  const version = readSmallInteger(reader.next(TAG.integer), what);
  const digestAlgorithms = children(reader.next(TAG.set), what).map((each) => readAlgorithm(each, what));
  const { contentType, content } = readEncapsulated(reader.next(TAG.sequence), what);
  const certificates = readCertificates(reader.optional(context(0)), what);
  reader.optional(context(1));
  const signers = children(reader.next(TAG.set), what);
  reader.end();
  if (signers.length > MAX_SIGNERS)
    throw invalid('cms-too-many-signers', `${what}: ${signers.length} signers`);
  return {
    version,
    digestAlgorithms,
    contentType,
    content,
    certificates,
    signers: signers.map((each) => readSigner(each, what)),
    fields: reader.all,
  };
}

/** AlgorithmIdentifier: its OID; parameters may be absent, NULL or (PSS, EC) structured. */
export function readAlgorithm(der: Der, what: string): string {
  const reader = new DerReader(der, what);
  const algorithm = readOid(reader.next(), what);
  if (!reader.done) reader.next();
  reader.end();
  return algorithm;
}

function readEncapsulated(der: Der, what: string): { contentType: string; content: Der | null } {
  const reader = new DerReader(der, what);
  const contentType = readOid(reader.next(), what);
  const wrapped = reader.optional(context(0));
  reader.end();
  return { contentType, content: wrapped ? parseDer(wrapped.body, what) : null };
}

function readCertificates(wrapped: Der | undefined, what: string): Certificate[] {
  if (!wrapped) return [];
  const choices = children(wrapped, what);
  if (choices.length > MAX_CERTIFICATES)
    throw invalid('cms-too-many-certificates', `${what}: ${choices.length} certificates`);
  // Attribute certificates and other choices have context tags; programs are not signed with them.
  return choices.filter((each) => each.tag === TAG.sequence).map((each) => Certificate.parse(each.raw, what));
}

/** Parses a SignerInfo outside of SignedData, such as a countersignature (RFC 5652 section 11.4). */
export const parseSignerInfo = (der: Buffer, what: string): SignerInfo =>
  readSigner(parseDer(der, what), what);

function readSigner(der: Der, what: string): SignerInfo {
  const reader = new DerReader(der, what);
  const version = readSmallInteger(reader.next(TAG.integer), what);
  const subjectKeyIdentifier = reader.optional(contextPrimitive(0))?.body ?? null;
  const name = subjectKeyIdentifier ? null : readIssuerAndSerial(reader.next(), what);
  const digestAlgorithm = readAlgorithm(reader.next(), what);
  const signed = reader.optional(context(0));
  const signatureAlgorithm = readAlgorithm(reader.next(), what);
  const signature = readOctets(reader.next(), what);
  const unsigned = reader.optional(context(1));
  reader.end();
  return {
    version,
    issuer: name?.issuer ?? null,
    serial: name?.serial ?? null,
    subjectKeyIdentifier,
    digestAlgorithm,
    signedAttributes: readAttributes(signed, what),
    // RFC 5652 section 5.4: hashed under SET's own tag, not under [0].
    signedAttributesDer: signed ? tlv(TAG.set, signed.body) : null,
    signatureAlgorithm,
    signature,
    unsignedAttributes: readAttributes(unsigned, what),
    fields: reader.all,
  };
}

function readIssuerAndSerial(der: Der, what: string): { issuer: Buffer; serial: Buffer } {
  const reader = new DerReader(der, what);
  const issuer = reader.next(TAG.sequence).raw;
  const serial = reader.next(TAG.integer).raw;
  reader.end();
  return { issuer, serial };
}

function readAttributes(wrapped: Der | undefined, what: string): Attribute[] {
  if (!wrapped) return [];
  return children(wrapped, what).map((each) => {
    const reader = new DerReader(each, what);
    const type = readOid(reader.next(), what);
    const values = children(reader.next(TAG.set), what);
    reader.end();
    return { oid: type, values, raw: each.raw };
  });
}

/** The one value of an attribute, or undefined if it is absent; several of either are refused (RFC 5652 section 11). */
export function singleAttribute(
  attributes: readonly Attribute[],
  type: string,
  what: string,
): Der | undefined {
  const [attribute, another] = attributes.filter((each) => each.oid === type);
  if (!attribute) return undefined;
  const [value, ...others] = attribute.values;
  if (another || others.length > 0 || !value)
    throw invalid('cms-attribute-repeated', `${what}: attribute ${type} does not have exactly one value`);
  return value;
}

/** The certificate that a SignerInfo names, or undefined if it is not in the SignedData. */
export function findSignerCertificate(
  data: Pick<SignedData, 'certificates'>,
  signer: SignerInfo,
): Certificate | undefined {
  return data.certificates.find((each) =>
    signer.subjectKeyIdentifier
      ? subjectKeyIdentifierOf(each)?.equals(signer.subjectKeyIdentifier)
      : signer.issuer &&
        signer.serial &&
        each.issuerDer.equals(signer.issuer) &&
        each.serialDer.equals(signer.serial),
  );
}

/** The certificate's subject key identifier (RFC 5280 section 4.2.1.2), or undefined if it has none. */
export function subjectKeyIdentifierOf(certificate: Certificate): Buffer | undefined {
  const extension = certificate.extensions.get(OID.subjectKeyIdentifier);
  return extension && readOctets(parseDer(extension.value, 'subject key identifier'));
}

/** The signing time that a signer claims (RFC 5652 section 11.3); unverified. */
export function claimedSigningTime(signer: SignerInfo, what: string): Date | undefined {
  const value = singleAttribute(signer.signedAttributes, OID.signingTime, what);
  return value && readTime(value, what);
}

/** Whether the members of a SET OF are in DER order. */
export function isSorted(members: readonly Buffer[]): boolean {
  return members.every((each, at) => at === 0 || Buffer.compare(members[at - 1] ?? each, each) <= 0);
}

/** The components of a ContentInfo with SignedData and one signer, byte for byte. */
interface SignedDataFields {
  /** ContentInfo's content type. */
  readonly type: Der;
  /** SignedData's components except the last, the SignerInfos. */
  readonly data: readonly Der[];
  /** The SignerInfo's components. */
  readonly signer: readonly Der[];
}

/** Splits a ContentInfo that `parseSignedData` accepts; throws `cms-signers` unless it has exactly one signer. */
export function signedDataFields(contentInfo: Buffer, what: string): SignedDataFields {
  const info = DerReader.of(contentInfo, what);
  const [type, wrapped] = [info.next(), info.next(context(0))];
  const data = children(parseDer(wrapped.body, what), what);
  const [signer, another] = children(expectTag(data.pop() ?? wrapped, TAG.set, what), what);
  if (!signer || another) throw invalid('cms-signers', `${what}: not exactly one signer`);
  return { type, data, signer: children(signer, what) };
}
