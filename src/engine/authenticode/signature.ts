import { createHash } from 'node:crypto';
import { context, DerReader, parseDer } from '../../lib/asn1/der.ts';
import { explicit, oid, seq } from '../../lib/asn1/encode-der.ts';
import { OID, type DigestName } from '../../lib/asn1/oids.ts';
import {
  attribute,
  baseAttributes,
  buildSignedData,
  buildSignerInfo,
  signatureAlgorithm,
  withUnsignedAttributes,
} from '../../lib/cms/build-signed-data.ts';
import {
  claimedSigningTime,
  findSignerCertificate,
  parseSignedData,
  singleAttribute,
  type SignedData,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { SignedContent } from '../formats/signable-file.ts';
import { readSpcLink, readSpcString, spcString, spcUrl } from './spc-link.ts';

/** The most signatures that may be nested in another. */
const MAX_NESTED = 32;

/** A description of the program in its signature, for people (SpcSpOpusInfo). */
export interface Description {
  /** Name of the program. */
  readonly name: string | null;
  /** Where to read more about it. */
  readonly url: string | null;
}

/** A parsed Authenticode signature. Nothing in it has been verified. */
export interface AuthenticodeSignature {
  readonly data: SignedData;
  /** The one signer. */
  readonly signer: SignerInfo;
  /** The signer's certificate, if the signature includes it. */
  readonly certificate: Certificate | undefined;
  /** What it signs; only the format of the file knows how to read it. */
  readonly content: SignedContent;
  readonly description: Description;
  /** The time that the signer claims; unverified. */
  readonly signingTime: Date | undefined;
  /** RFC 3161 tokens (ContentInfo, DER) over the signature value; normally one at most. */
  readonly timestamps: readonly Buffer[];
  /** Timestamps older than RFC 3161: PKCS #9 countersignatures (SignerInfo, DER). */
  readonly counterSignatures: readonly Buffer[];
  /** Further signatures of the same file, nested in this one (ContentInfo, DER). */
  readonly nested: readonly Buffer[];
}

/**
 * Parses one signature; those nested in it stay DER. Throws `der-malformed`, `cms-…`, or
 * `authenticode-…` if it is SignedData but not an Authenticode signature.
 */
export function parseSignature(der: Buffer, what: string): AuthenticodeSignature {
  const data = parseSignedData(der, what);
  const [signer] = data.signers;
  if (data.version !== 1 && data.version !== 3)
    throw invalid('authenticode-version', `${what}: SignedData version ${data.version} instead of 1`);
  if (!signer || data.signers.length !== 1)
    throw invalid('authenticode-signers', `${what}: ${data.signers.length} signers instead of one`);
  if (!data.content) throw invalid('authenticode-content', `${what}: it includes no content`);
  const values = (type: string): Buffer[] => valuesOf(signer, type);
  const nested = values(OID.spcNestedSignature);
  if (nested.length > MAX_NESTED)
    throw invalid('authenticode-nested', `${what}: ${nested.length} nested signatures`);
  return {
    data,
    signer,
    certificate: findSignerCertificate(data, signer),
    content: { type: data.contentType, der: data.content.raw },
    description: readDescription(signer, what),
    signingTime: claimedSigningTime(signer, what),
    timestamps: values(OID.spcTimestampToken),
    counterSignatures: values(OID.counterSignature),
    nested,
  };
}

/** What the messageDigest attribute covers: the content without tag and length (RFC 2315 section 9.3), of any type. */
export const digestedBytes = ({ der }: SignedContent): Buffer => parseDer(der, 'content').body;

const parsedSignatures = new WeakMap<Buffer, AuthenticodeSignature>();

/**
 * Parses a signature of an open file, or one nested in it, only once: later calls with the same buffer, which must
 * not change, return the first result. Throws as `parseSignature` does.
 */
export function readSignature(der: Buffer, what: string): AuthenticodeSignature {
  const signature = parsedSignatures.get(der) ?? parseSignature(der, what);
  parsedSignatures.set(der, signature);
  return signature;
}

const valuesOf = (signer: SignerInfo, type: string): Buffer[] =>
  signer.unsignedAttributes
    .filter((each) => each.oid === type)
    .flatMap((each) => each.values.map((v) => v.raw));

function readDescription(signer: SignerInfo, what: string): Description {
  const value = singleAttribute(signer.signedAttributes, OID.spcSpOpusInfo, what);
  if (!value) return { name: null, url: null };
  const reader = new DerReader(value, what);
  const name = reader.optional(context(0));
  const more = reader.optional(context(1));
  reader.end();
  const link = more && readSpcLink(parseDer(more.body, what), what);
  return {
    name: name ? readSpcString(parseDer(name.body, what), what) : null,
    url: link?.kind === 'url' ? link.url : null,
  };
}

// --- building ------------------------------------------------------------------------------

/**
 * The signed attributes that signtool writes: content type, message digest, statement type (always individual code
 * signing) and SpcSpOpusInfo, empty without a description. There is no signing time unless one is given: a timestamp
 * is better evidence, and without either the signature does not depend on the clock.
 */
export function signedAttributes(
  content: SignedContent,
  hash: DigestName,
  description: Description,
  signingTime?: Date,
): Buffer[] {
  const messageDigest = createHash(hash).update(digestedBytes(content)).digest();
  return [
    ...baseAttributes(content.type, messageDigest, signingTime),
    attribute(OID.spcStatementType, seq(oid(OID.spcIndividualPurpose))),
    attribute(OID.spcSpOpusInfo, opusInfo(description)),
  ];
}

/** SpcSpOpusInfo ::= SEQUENCE { programName [0] EXPLICIT SpcString OPTIONAL, moreInfo [1] EXPLICIT SpcLink OPTIONAL } */
const opusInfo = ({ name, url }: Description): Buffer =>
  seq(
    ...(name === null ? [] : [explicit(0, spcString(name))]),
    ...(url === null ? [] : [explicit(1, spcUrl(url))]),
  );

/** The parts of an Authenticode signature. */
export interface SignatureParts {
  readonly content: SignedContent;
  readonly hash: DigestName;
  readonly key: 'rsa' | 'ecdsa';
  /** Leaf first. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
  /** Attributes, DER. */
  readonly signedAttributes: readonly Buffer[];
  readonly signature: Buffer;
  /** RFC 3161 token (ContentInfo, DER). */
  readonly timestamp?: Buffer;
}

/** ContentInfo around SignedData of version 1, DER; the content lies under `[0]` without an OCTET STRING. */
export const buildSignature = (parts: SignatureParts): Buffer =>
  buildSignedData({
    version: 1,
    hash: parts.hash,
    contentType: parts.content.type,
    content: parts.content.der,
    certificates: parts.certificates,
    signer: buildSigner(parts),
  });

/** SignerInfo, DER. */
export const buildSigner = (parts: SignatureParts): Buffer =>
  buildSignerInfo({
    certificate: parts.certificates[0],
    hash: parts.hash,
    signedAttributes: parts.signedAttributes,
    signatureAlgorithm: signatureAlgorithm(parts.key, parts.hash),
    signature: parts.signature,
    unsignedAttributes: parts.timestamp ? [attribute(OID.spcTimestampToken, parts.timestamp)] : [],
  });

/**
 * Nests one more signature in `primary` (signtool sign /as, osslsigncode -nest), as a value of the unsigned
 * attribute 1.3.6.1.4.1.311.2.4.1. The rest of the primary stays byte for byte.
 */
export function addNested(primary: Buffer, nested: Buffer, what: string): Buffer {
  const { signer } = parseSignature(primary, what);
  const others = signer.unsignedAttributes.filter((each) => each.oid !== OID.spcNestedSignature);
  const values = [...valuesOf(signer, OID.spcNestedSignature), nested];
  const attributes = [...others.map((each) => each.raw), attribute(OID.spcNestedSignature, ...values)];
  return withUnsignedAttributes(primary, attributes, what);
}
