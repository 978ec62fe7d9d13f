import { createHash, sign } from 'node:crypto';
import { children, DerReader, readBoolean, readOctets, readOid, TAG, type Der } from '../lib/asn1/der.ts';
import {
  explicit,
  generalizedTime,
  integer,
  octets,
  oid,
  seq,
  utf8,
  bitString,
} from '../lib/asn1/encode-der.ts';
import { digestName, OID } from '../lib/asn1/oids.ts';
import {
  attribute,
  baseAttributes,
  buildSignedData,
  buildSignerInfo,
  signatureAlgorithm,
  signedAttributesToSign,
} from '../lib/cms/build-signed-data.ts';
import { invalid } from '../lib/errors.ts';
import type { Certificate } from '../lib/x509/certificate.ts';
import { randomSerial, signatureScheme, type TestIdentity } from './certificates.ts';

/** The policy of a token unless the request names one: an OID from the arc for examples. */
export const TEST_POLICY = '1.3.6.1.4.1.32473.1.1';

/** The fields of a TimeStampReq (RFC 3161, 2.4.1) that the authority uses. */
export interface ParsedRequest {
  /** MessageImprint, DER; copied into the token. */
  readonly imprint: Buffer;
  readonly digestOid: string;
  readonly digest: Buffer;
  /** INTEGER, DER. */
  readonly nonce: Buffer | null;
  readonly policy: string | null;
  readonly certificates: boolean;
}

function readImprint(der: Der): Pick<ParsedRequest, 'digestOid' | 'digest'> {
  const reader = new DerReader(der, 'request');
  const [digest] = children(reader.next(TAG.sequence), 'request');
  if (!digest) throw invalid('timestamp-request', 'request: no digest algorithm');
  return { digestOid: readOid(digest), digest: readOctets(reader.next()) };
}

export function readRequest(der: Buffer): ParsedRequest {
  const reader = DerReader.of(der, 'request');
  reader.next(TAG.integer);
  const imprint = reader.next(TAG.sequence);
  const policy = reader.optional(TAG.oid);
  const nonce = reader.optional(TAG.integer);
  const certReq = reader.optional(TAG.boolean);
  return {
    imprint: imprint.raw,
    ...readImprint(imprint),
    nonce: nonce?.raw ?? null,
    policy: policy ? readOid(policy) : null,
    certificates: certReq !== undefined && readBoolean(certReq),
  };
}

/** The contents of a token, which tests can make wrong. */
export interface TokenContents {
  readonly request: ParsedRequest;
  readonly time: Date;
  readonly identity: TestIdentity;
  /** Leaves out the attribute that says which certificate signed. */
  readonly unbound?: boolean | undefined;
  /** Names another certificate as the signer's. */
  readonly boundTo?: TestIdentity | undefined;
  /** Spoils the signature. */
  readonly spoiled?: boolean | undefined;
}

/** TSTInfo (RFC 3161, 2.4.2) with an accuracy of a second and a random serial number. */
function tstInfo({ request, time, identity }: TokenContents): Buffer {
  return seq(
    integer(1),
    oid(request.policy ?? TEST_POLICY),
    request.imprint,
    randomSerial(),
    generalizedTime(time),
    seq(integer(1)),
    ...(request.nonce ? [request.nonce] : []),
    explicit(0, explicit(4, identity.certificate.subjectDer)),
  );
}

/** SigningCertificateV2 (RFC 5035, 3); its digest is the default SHA-256, so its name is omitted. */
function signingCertificate(certificate: Certificate): Buffer {
  const digest = createHash('sha256').update(certificate.raw).digest();
  const issuer = seq(explicit(4, certificate.issuerDer));
  const id = seq(octets(digest), seq(issuer, certificate.serialDer));
  return attribute(OID.signingCertificateV2, seq(seq(id)));
}

/** Makes a token (ContentInfo, DER) signed by the identity, with the digest for its key. */
export function makeToken(contents: TokenContents): Buffer {
  const { identity, request, time } = contents;
  const { certificate, key, chain } = identity;
  const scheme = signatureScheme(key);
  const content = tstInfo(contents);
  const signedAttributes = [
    ...baseAttributes(OID.tstInfo, createHash(scheme.hash).update(content).digest(), time),
    ...(contents.unbound ? [] : [signingCertificate((contents.boundTo ?? identity).certificate)]),
  ];
  const signature = sign(scheme.hash, signedAttributesToSign(signedAttributes), key);
  if (contents.spoiled) signature[signature.length - 1] = (signature[signature.length - 1] ?? 0) ^ 1;
  return buildSignedData({
    version: 3,
    hash: scheme.hash,
    contentType: OID.tstInfo,
    content: octets(content),
    certificates: request.certificates ? chain.filter((each, at) => at === 0 || !each.isSelfIssued) : [],
    signer: buildSignerInfo({
      certificate,
      hash: scheme.hash,
      signedAttributes,
      signatureAlgorithm: signatureAlgorithm(key.asymmetricKeyType === 'rsa' ? 'rsa' : 'ecdsa', scheme.hash),
      signature,
    }),
  });
}

/** A TimeStampResp with a token (RFC 3161, 2.4.2). */
export const grant = (token: Buffer): Buffer => seq(seq(integer(0)), token);

/** A TimeStampResp that refuses: status, text, and one bit of PKIFailureInfo. */
export function refuse(status: number, text: string, failure: number): Buffer {
  const bits = Buffer.alloc((failure >> 3) + 1);
  bits[failure >> 3] = 0x80 >> (failure & 7);
  return seq(seq(integer(status), seq(utf8(text)), bitString(bits, 7 - (failure & 7))));
}

/** PKIFailureInfo bits. */
export const FAILURE = { badAlgorithm: 0, badDataFormat: 5, timeNotAvailable: 14 } as const;

/** Whether the request's digest algorithm is supported and the digest has its length. */
export function isKnownImprint({ digestOid, digest }: ParsedRequest): boolean {
  const name = digestName(digestOid);
  if (!name || name === 'md5' || name === 'sha1') return false;
  return createHash(name).digest().length === digest.length;
}
