import { context, contextPrimitive } from '../asn1/der.ts';
import { explicit, integer, NULL, octets, oid, seq, set, sorted, time, tlv } from '../asn1/encode-der.ts';
import { OID, type DigestName } from '../asn1/oids.ts';
import type { Certificate } from '../x509/certificate.ts';
import { invalid } from '../errors.ts';
import { signedDataFields, subjectKeyIdentifierOf } from './signed-data.ts';

/** What RFC 5652 leaves to those who write SignedData. */
export interface CmsStyle {
  /** How a signer is named: by issuer and serial number (SignerInfo version 1), or by its key's identifier (version 3). */
  readonly signerNamedBy: 'issuer' | 'key';
  /** Whether algorithms for digests and RSA have NULL as their parameters, or none. */
  readonly parameters: 'null' | 'none';
}

/** As PKCS #7 and Authenticode have it. */
const PKCS7: CmsStyle = { signerNamedBy: 'issuer', parameters: 'null' };

/** AlgorithmIdentifier with NULL parameters, or none, as for digests and RSA. */
export const algorithm = (dotted: string, { parameters }: CmsStyle = PKCS7): Buffer =>
  parameters === 'null' ? seq(oid(dotted), NULL) : seq(oid(dotted));

const ECDSA: Record<DigestName, string> = {
  sha256: OID.ecdsaWithSha256,
  sha384: OID.ecdsaWithSha384,
  sha512: OID.ecdsaWithSha512,
};

/**
 * The signature algorithm for a SignerInfo, DER. For RSA the key's own, rsaEncryption with NULL, as signtool and
 * osslsigncode write it (RFC 3370 section 3.2 allows it). For ECDSA the one of RFC 5754 section 3.3 without
 * parameters, as osslsigncode writes it; signtool writes id-ecPublicKey, which verifiers accept but no standard
 * specifies.
 */
export const signatureAlgorithm = (key: 'rsa' | 'ecdsa', hash: DigestName, style?: CmsStyle): Buffer =>
  key === 'rsa' ? algorithm(OID.rsaEncryption, style) : seq(oid(ECDSA[hash]));

/** Attribute with its values as a SET OF. */
export const attribute = (type: string, ...values: readonly Buffer[]): Buffer =>
  seq(oid(type), set(...values));

/** The signed attributes as the signature covers them: DER SET OF (RFC 5652 section 5.4). */
export const signedAttributesToSign = (attributes: readonly Buffer[]): Buffer => set(...attributes);

/** The attributes of every signer: contentType, messageDigest and, if given, signingTime. */
export function baseAttributes(contentType: string, digest: Buffer, signingTime?: Date): Buffer[] {
  const attributes = [
    attribute(OID.contentType, oid(contentType)),
    attribute(OID.messageDigest, octets(digest)),
  ];
  if (signingTime) attributes.push(attribute(OID.signingTime, time(signingTime)));
  return attributes;
}

/** The parts of a SignerInfo. */
interface SignerParts {
  /** That of PKCS #7 unless given. */
  readonly style?: CmsStyle | undefined;
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

/** SignerIdentifier with the version that belongs to it (RFC 5652 section 5.3). */
function signerName(certificate: Certificate, { signerNamedBy }: CmsStyle): [version: Buffer, name: Buffer] {
  if (signerNamedBy === 'issuer') return [integer(1), seq(certificate.issuerDer, certificate.serialDer)];
  const identifier = subjectKeyIdentifierOf(certificate);
  if (identifier) return [integer(3), tlv(contextPrimitive(0), identifier)];
  throw invalid(
    'certificate-no-key-identifier',
    `${certificate.subject}: the certificate has no subject key identifier, by which the signature would name it`,
    { hint: 'sign with another certificate: those of public authorities have one' },
  );
}

/** SignerInfo, DER; throws `certificate-no-key-identifier` if it names the signer by that and the certificate has none. */
export function buildSignerInfo(parts: SignerParts): Buffer {
  const { style = PKCS7, unsignedAttributes: unsigned = [] } = parts;
  return seq(
    ...signerName(parts.certificate, style),
    algorithm(OID[parts.hash], style),
    tlv(context(0), ...sorted(parts.signedAttributes)),
    parts.signatureAlgorithm,
    octets(parts.signature),
    ...(unsigned.length > 0 ? [tlv(context(1), ...sorted(unsigned))] : []),
  );
}

/** The parts of a SignedData around one signer. */
interface SignedDataParts {
  /** That of PKCS #7 unless given. */
  readonly style?: CmsStyle | undefined;
  /** 1 for PKCS #7 and Authenticode; 3 if a signer's version is 3 or the content is not id-data (RFC 5652 section 5.1). */
  readonly version: 1 | 3;
  readonly hash: DigestName;
  readonly contentType: string;
  /** The value under eContent's `[0]`, with its own tag; null for none. */
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
    set(algorithm(OID[parts.hash], parts.style)),
    seq(oid(parts.contentType), ...content),
    ...(certificates.length > 0 ? [tlv(context(0), ...certificates)] : []),
    set(parts.signer),
  );
  return seq(oid(OID.signedData), explicit(0, signedData));
}

/** Replaces the unsigned attributes of the only signer in a ContentInfo, for example to add a timestamp. */
export function withUnsignedAttributes(
  contentInfo: Buffer,
  attributes: readonly Buffer[],
  what: string,
): Buffer {
  const { type, data, signer } = signedDataFields(contentInfo, what);
  const otherFields = signer.filter(({ tag }) => tag !== context(1)).map(({ raw }) => raw);
  const unsigned = attributes.length > 0 ? [tlv(context(1), ...sorted(attributes))] : [];
  const rebuilt = set(seq(...otherFields, ...unsigned));
  return seq(type.raw, explicit(0, seq(...data.map(({ raw }) => raw), rebuilt)));
}
