import { createHash, verify, type KeyObject } from 'node:crypto';
import {
  children,
  context,
  contextPrimitive,
  DerReader,
  expectTag,
  explicit,
  integer,
  NULL,
  octets,
  oid,
  parseDer,
  readOctets,
  readOid,
  readSmallInteger,
  readTime,
  seq,
  set,
  sorted,
  TAG,
  time,
  tlv,
  type Der,
} from '../asn1/der.ts';
import { digestName, OID, type DigestName, type KnownDigest } from '../asn1/oids.ts';
import { invalid, messageOf, SignpipeError } from '../errors.ts';
import { Certificate } from '../x509/certificate.ts';

/** Attribute (RFC 5652 section 5.3): a type and its values, still DER. */
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
  /** The DER that the signature covers: the attributes under the SET tag; null when there are none. */
  readonly signedAttributesDer: Buffer | null;
  readonly signatureAlgorithm: string;
  readonly signature: Buffer;
  readonly unsignedAttributes: readonly Attribute[];
  readonly raw: Buffer;
  /** Its components, in order. */
  readonly fields: readonly Der[];
}

/** SignedData (RFC 5652 section 5.1; RFC 2315 for Authenticode, whose content is not an OCTET STRING). */
export interface SignedData {
  readonly version: number;
  readonly digestAlgorithms: readonly string[];
  readonly contentType: string;
  /** What stands under eContent's `[0]`: an OCTET STRING in CMS, a SEQUENCE in Authenticode; null when detached. */
  readonly content: Der | null;
  readonly certificates: readonly Certificate[];
  readonly signers: readonly SignerInfo[];
  /** The ContentInfo, DER. */
  readonly raw: Buffer;
  /** SignedData's components, in order. */
  readonly fields: readonly Der[];
}

/** Bounds on what a stranger's SignedData may hold. */
const MAX_CERTIFICATES = 100;
const MAX_SIGNERS = 16;

/** Reads a ContentInfo that holds SignedData, every byte; throws `der-malformed` or `cms-...`. */
export const parseSignedData = (der: Buffer, what: string): SignedData =>
  readContentInfo(parseDer(der, what), what);

const known = new WeakMap<Der, SignedData>();

/** As `parseSignedData`, of a value that was found in another; who asks again is given what was read. */
export function readSignedData(der: Der, what: string): SignedData {
  const data = known.get(der) ?? readContentInfo(der, what);
  known.set(der, data);
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
  const version = readSmallInteger(reader.next(), what);
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
    raw: der.raw,
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
  const found = children(wrapped, what);
  if (found.length > MAX_CERTIFICATES)
    throw invalid('cms-too-many-certificates', `${what}: ${found.length} certificates`);
  // Attribute certificates and other choices bear context tags; nobody signs programs with them.
  return found.filter((each) => each.tag === TAG.sequence).map((each) => Certificate.parse(each.raw, what));
}

/** A SignerInfo that stands alone, as a countersignature does (RFC 5652 section 11.4). */
export const parseSignerInfo = (der: Buffer, what: string): SignerInfo =>
  readSigner(parseDer(der, what), what);

function readSigner(der: Der, what: string): SignerInfo {
  const reader = new DerReader(der, what);
  const version = readSmallInteger(reader.next(), what);
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
    raw: der.raw,
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

/** The attribute's one value, or undefined when it is absent; several of either is refused (RFC 5652 section 11). */
export function singleAttribute(
  attributes: readonly Attribute[],
  type: string,
  what: string,
): Der | undefined {
  const found = attributes.filter((each) => each.oid === type);
  if (found.length === 0) return undefined;
  const [value] = found[0]?.values ?? [];
  if (found.length > 1 || found[0]?.values.length !== 1 || !value)
    throw invalid('cms-attribute-repeated', `${what}: attribute ${type} does not have exactly one value`);
  return value;
}

/** The certificate that a SignerInfo names, or undefined when it did not come along. */
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

function subjectKeyIdentifierOf(certificate: Certificate): Buffer | undefined {
  const extension = certificate.extensions.get(OID.subjectKeyIdentifier);
  return extension && readOctets(parseDer(extension.value, 'subject key identifier'));
}

/** The signing time that a signer claims (RFC 5652 section 11.3); nobody vouches for it. */
export function claimedSigningTime(signer: SignerInfo, what: string): Date | undefined {
  const value = singleAttribute(signer.signedAttributes, OID.signingTime, what);
  return value && readTime(value, what);
}

interface SignatureAlgorithm {
  /** The type of key that it takes, in node:crypto's words. */
  readonly key: 'rsa' | 'ec';
  /** The digest that it names; one that names none leaves that to the SignerInfo. */
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
  const named = value && readOid(value, what);
  if (named !== contentType)
    throw invalid(
      'cms-content-type',
      `${what}: the contentType attribute says ${named ?? 'nothing'}, the content is ${contentType}`,
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
 * Checks the signature value over the signed attributes (or over `content` where there are none)
 * with `key`; throws `cms-signature-...`. Contents and attributes are the other checks' matter.
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
      `${what}: signature algorithm ${signer.signatureAlgorithm} with a ${key.asymmetricKeyType ?? 'strange'} key`,
    );
  if (!verify(digest, signer.signedAttributesDer ?? content, key, signer.signature))
    throw invalid('cms-signature-wrong', `${what}: the signature does not match the signed attributes`);
}

/**
 * All that one SignerInfo says of a content: contentType and messageDigest attributes and the
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

// --- building ------------------------------------------------------------------------------

/** AlgorithmIdentifier with NULL parameters, as digests and RSA have them. */
export const algorithm = (dotted: string): Buffer => seq(oid(dotted), NULL);

const ECDSA: Record<DigestName, string> = {
  sha256: OID.ecdsaWithSha256,
  sha384: OID.ecdsaWithSha384,
  sha512: OID.ecdsaWithSha512,
};

/**
 * The signature algorithm that we put into a SignerInfo. For RSA the key's own, rsaEncryption with
 * NULL, as signtool and osslsigncode write it (RFC 3370 section 3.2 allows it). For ECDSA the one
 * that RFC 5754 section 3.3 asks for, parameters absent, as osslsigncode writes it; signtool writes
 * id-ecPublicKey, which is read everywhere too but which no standard has.
 */
export const signatureAlgorithm = (key: 'rsa' | 'ecdsa', hash: DigestName): Buffer =>
  key === 'rsa' ? algorithm(OID.rsaEncryption) : seq(oid(ECDSA[hash]));

/** Attribute with its values as a SET OF. */
export const attribute = (type: string, ...values: readonly Buffer[]): Buffer =>
  seq(oid(type), set(...values));

/** The signed attributes as the signature covers them: DER SET OF (RFC 5652 section 5.4). */
export const signedAttributesToSign = (attributes: readonly Buffer[]): Buffer => set(...attributes);

/** contentType, messageDigest and, when given, signingTime: what every signer has. */
export function baseAttributes(contentType: string, digest: Buffer, signingTime?: Date): Buffer[] {
  const attributes = [
    attribute(OID.contentType, oid(contentType)),
    attribute(OID.messageDigest, octets(digest)),
  ];
  if (signingTime) attributes.push(attribute(OID.signingTime, time(signingTime)));
  return attributes;
}

/** The parts of a SignerInfo of version 1, named by issuer and serial. */
export interface SignerParts {
  readonly certificate: Certificate;
  readonly hash: DigestName;
  /** Attributes, DER; sorted here. */
  readonly signedAttributes: readonly Buffer[];
  /** AlgorithmIdentifier, DER. */
  readonly signatureAlgorithm: Buffer;
  readonly signature: Buffer;
  /** Attributes, DER; sorted here; none leaves `[1]` out. */
  readonly unsignedAttributes?: readonly Buffer[];
}

/** SignerInfo, DER. */
export function buildSignerInfo(parts: SignerParts): Buffer {
  const unsigned = parts.unsignedAttributes ?? [];
  return seq(
    integer(1),
    seq(parts.certificate.issuerDer, parts.certificate.serialDer),
    algorithm(OID[parts.hash]),
    tlv(context(0), ...sorted(parts.signedAttributes)),
    parts.signatureAlgorithm,
    octets(parts.signature),
    ...(unsigned.length > 0 ? [tlv(context(1), ...sorted(unsigned))] : []),
  );
}

/** The parts of a SignedData around one signer. */
export interface SignedDataParts {
  /** 1 for PKCS #7 and Authenticode; 3 for CMS whose content is not id-data (RFC 5652 section 5.1). */
  readonly version: 1 | 3;
  readonly hash: DigestName;
  readonly contentType: string;
  /** What goes under eContent's `[0]`, with its own tag; null for none. */
  readonly content: Buffer | null;
  readonly certificates: readonly Certificate[];
  /** SignerInfo, DER. */
  readonly signer: Buffer;
}

/** ContentInfo with SignedData, DER; the certificates sorted as a SET OF. */
export function buildSignedData(parts: SignedDataParts): Buffer {
  const content = parts.content ? [explicit(0, parts.content)] : [];
  const certificates = sorted(parts.certificates.map((each) => each.raw));
  const signedData = seq(
    integer(parts.version),
    set(algorithm(OID[parts.hash])),
    seq(oid(parts.contentType), ...content),
    ...(certificates.length > 0 ? [tlv(context(0), ...certificates)] : []),
    set(parts.signer),
  );
  return seq(oid(OID.signedData), explicit(0, signedData));
}

/** Whether the members of a SET OF stand in DER's order. */
export function isSorted(members: readonly Buffer[]): boolean {
  return members.every((each, at) => at === 0 || Buffer.compare(members[at - 1] ?? each, each) <= 0);
}

/** A ContentInfo with SignedData and one signer, taken apart byte for byte without interpreting it. */
export interface SignedDataFields {
  /** ContentInfo's content type. */
  readonly type: Der;
  /** SignedData's components but the last, the SignerInfos. */
  readonly data: readonly Der[];
  /** The SignerInfo's components. */
  readonly signer: readonly Der[];
}

/** Takes apart what `parseSignedData` has accepted; throws `cms-signers` unless it has exactly one signer. */
export function signedDataFields(contentInfo: Buffer, what: string): SignedDataFields {
  const info = DerReader.of(contentInfo, what);
  const [type, wrapped] = [info.next(), info.next(context(0))];
  const data = children(parseDer(wrapped.body, what), what);
  const [signer, another] = children(expectTag(data.pop() ?? wrapped, TAG.set, what), what);
  if (!signer || another) throw invalid('cms-signers', `${what}: not exactly one signer`);
  return { type, data, signer: children(signer, what) };
}

/** The same SignedData with other unsigned attributes on its only signer: how a timestamp is added. */
export function withUnsignedAttributes(
  contentInfo: Buffer,
  attributes: readonly Buffer[],
  what: string,
): Buffer {
  const { type, data, signer } = signedDataFields(contentInfo, what);
  const kept = signer.filter(({ tag }) => tag !== context(1)).map(({ raw }) => raw);
  const unsigned = attributes.length > 0 ? [tlv(context(1), ...sorted(attributes))] : [];
  const rebuilt = set(seq(...kept, ...unsigned));
  return seq(type.raw, explicit(0, seq(...data.map(({ raw }) => raw), rebuilt)));
}
