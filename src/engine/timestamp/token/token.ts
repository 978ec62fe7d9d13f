import { readOctets, type Der } from '../../../lib/asn1/der.ts';
import { OID, type KnownDigest } from '../../../lib/asn1/oids.ts';
import {
  findSignerCertificate,
  readSignedData,
  type SignedData,
  type SignerInfo,
} from '../../../lib/cms/signed-data.ts';
import { signerDigest, verifySigner } from '../../../lib/cms/verify-signer.ts';
import { invalid, SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import type { Certificate } from '../../../lib/x509/certificate.ts';
import { buildChain } from '../../../lib/x509/chain.ts';
import { checkEssCertId } from './ess-cert-id.ts';
import { withTimestampCode } from '../timestamp-errors.ts';
import { readTstInfo, type TstInfo } from './tst-info.ts';

/** What a token must say to be accepted. */
export interface TokenExpectation {
  readonly imprint: Buffer;
  readonly hash: KnownDigest;
  /** Left out for a token found in a file: the request is not known. */
  readonly nonce?: Buffer | undefined;
  readonly policy?: string | undefined;
  /** The token's time must not be before this. */
  readonly earliest?: Date | undefined;
  /** The token's time must not be after this. */
  readonly latest?: Date | undefined;
  /** The authority's chain at the token's time must lead to one of these. Not checked if left out. */
  readonly roots?: readonly Certificate[] | undefined;
  /** Accepts a signature over SHA-1, as old tokens in other publishers' files have. */
  readonly weakDigests?: boolean | undefined;
  /**
   * Accepts a certificate whose extended key usage is not critical, as in Microsoft's own authorities of about 2018.
   * RFC 3161 (2.3) requires critical.
   */
  readonly uncriticalPurpose?: boolean | undefined;
  /** What the token belongs to, for messages. */
  readonly what?: string | undefined;
}

export interface TimestampInfo {
  readonly time: Date;
  /** The subject of the authority's certificate. */
  readonly authority: string;
  readonly certificate: Certificate;
  /** All certificates in the token. */
  readonly certificates: readonly Certificate[];
  /** From the authority up to the root; null if no roots were given. */
  readonly chain: readonly Certificate[] | null;
  /** Dotted. */
  readonly policy: string;
  /** Lower-case hex. */
  readonly serial: string;
}

/** A parsed token; nothing in it is checked. */
interface Token {
  readonly data: SignedData;
  readonly signer: SignerInfo;
  /** TSTInfo in DER: the bytes that are signed. */
  readonly content: Buffer;
  readonly info: TstInfo;
}

/**
 * SignedData must have version 3, since its content is not id-data (RFC 5652, 5.1); SignerInfo version 1 or, if it
 * names its certificate by key identifier, 3 (5.3). The signature does not cover the versions.
 */
function checkVersions(data: SignedData, signer: SignerInfo, what: string): void {
  if (data.version !== 3)
    throw invalid('timestamp-malformed', `${what}: SignedData of version ${data.version}, not 3`);
  const expected = signer.subjectKeyIdentifier ? 3 : 1;
  if (signer.version !== expected)
    throw invalid('timestamp-malformed', `${what}: SignerInfo of version ${signer.version}, not ${expected}`);
}

function readToken(token: Der, what: string): Token {
  const data = readSignedData(token, what);
  const [signer, another] = data.signers;
  if (data.contentType !== OID.tstInfo || !data.content)
    throw invalid('timestamp-malformed', `${what}: what it signs is not a time`);
  if (!signer || another) throw invalid('timestamp-malformed', `${what}: must have exactly one signature`);
  checkVersions(data, signer, what);
  const content = readOctets(data.content, what);
  return { data, signer, content, info: readTstInfo(content, what) };
}

/** Parses a token (ContentInfo). Throws `timestamp-malformed`. */
export const parseToken = (token: Der, what: string): Token =>
  withTimestampCode('timestamp-malformed', () => readToken(token, what));

/**
 * Returns the digest algorithm of a token's imprint: for a token found in a file, only the token says which.
 * Throws `cms-digest-unknown`.
 */
export function imprintDigest({ info: { hash } }: Token, what: string): KnownDigest {
  if (!hash) throw invalid('cms-digest-unknown', `${what}: its imprint has an unknown digest algorithm`);
  return hash;
}

function checkAnswer(info: TstInfo, expected: TokenExpectation, what: string): void {
  const { imprint, hash, nonce, policy } = expected;
  if (info.hash !== hash || !info.imprint.equals(imprint))
    throw invalid('timestamp-imprint', `${what}: stamps other data than was sent`);
  if (nonce && info.nonce !== BigInt(`0x${nonce.toString('hex')}`))
    throw invalid(
      'timestamp-nonce',
      `${what}: ${info.nonce === null ? 'has no nonce' : 'has another nonce'}`,
      { hint: 'a proxy may have cached, or someone on the network replayed, the answer to an older request' },
    );
  if (policy !== undefined && info.policy !== policy)
    throw invalid('timestamp-policy', `${what}: stamped under policy ${info.policy}, not ${policy}`);
}

/** The authority's certificate. The token must include it: the request asks for it, and Windows needs it. */
function requireCertificate({ data, signer }: Token, what: string): Certificate {
  const certificate = findSignerCertificate(data, signer);
  if (certificate) return certificate;
  throw invalid('timestamp-certificate', `${what}: does not include its authority's certificate`);
}

function checkSignature({ signer, content }: Token, certificate: Certificate, weak: boolean, what: string) {
  withTimestampCode('timestamp-signature', () => {
    const digest = signerDigest(signer, what);
    if (digest === 'md5' || (digest === 'sha1' && !weak))
      throw invalid('timestamp-signature', `${what}: signed over ${digest}, which is no longer safe`);
    // Content other than id-data must be signed through attributes (RFC 5652, 5.3).
    if (!signer.signedAttributesDer)
      throw invalid('timestamp-signature', `${what}: has no signed attributes`);
    verifySigner(signer, certificate, OID.tstInfo, content, what);
  });
}

/** The extended key usage is timeStamping alone and, unless `uncritical`, critical (RFC 3161, 2.3); valid at `time`. */
function checkCertificate(certificate: Certificate, time: Date, uncritical: boolean, what: string): void {
  const refuse = (why: string): SignpipeError =>
    invalid('timestamp-certificate', `${what}: the certificate of ${printable(certificate.subject)} ${why}`);
  const purposes = certificate.extendedKeyUsage ?? [];
  if (!purposes.includes(OID.timeStamping)) throw refuse('was not issued for timestamping');
  if (purposes.length > 1) throw refuse('was issued for other purposes besides timestamping');
  if (!uncritical && certificate.extensions.get(OID.extendedKeyUsage)?.critical !== true)
    throw refuse('does not mark its purpose as critical');
  const { keyUsage } = certificate;
  if (keyUsage && !keyUsage.has('digitalSignature') && !keyUsage.has('nonRepudiation'))
    throw refuse('may not make signatures');
  if (time < certificate.notBefore) throw refuse('was not valid yet at the time of the token');
  if (time > certificate.notAfter) throw refuse('had expired at the time of the token');
}

function checkTime(time: Date, { earliest, latest }: TokenExpectation, what: string): void {
  const [bound, relation] =
    earliest && time < earliest ? [earliest, 'before'] : latest && time > latest ? [latest, 'after'] : [];
  if (!bound) return;
  throw invalid(
    'timestamp-time',
    `${what}: its time is ${time.toISOString()}, ${relation} ${bound.toISOString()}`,
    { hint: 'check the clock of this machine' },
  );
}

/**
 * Checks a token (RFC 3161, 2.4.2; RFC 5816) and returns what it says. No field of a token may be used before this
 * has returned.
 *
 * | code                    | meaning                                                                     |
 * | ----------------------- | --------------------------------------------------------------------------- |
 * | `timestamp-malformed`   | not a token                                                                 |
 * | `timestamp-imprint`     | over other data, or by another digest                                       |
 * | `timestamp-nonce`       | the answer to another request                                               |
 * | `timestamp-policy`      | under another policy than asked for                                         |
 * | `timestamp-certificate` | missing, not for timestamping alone, not valid at the time, or not the one meant |
 * | `timestamp-signature`   | the authority's signature is not valid                                       |
 * | `timestamp-time`        | outside `earliest` to `latest`                                              |
 * | `timestamp-untrusted`   | no chain to any of `roots`                                                  |
 */
export function checkToken(token: Token, expected: TokenExpectation): TimestampInfo {
  const what = expected.what ?? 'timestamp';
  const { data, info, signer } = token;
  checkAnswer(info, expected, what);
  const certificate = requireCertificate(token, what);
  checkSignature(token, certificate, expected.weakDigests ?? false, what);
  withTimestampCode('timestamp-certificate', () => checkEssCertId(signer, certificate, what));
  checkCertificate(certificate, info.time, expected.uncriticalPurpose ?? false, what);
  checkTime(info.time, expected, what);
  return {
    time: info.time,
    authority: certificate.subject,
    certificate,
    certificates: data.certificates,
    chain: expected.roots ? trustedChain(certificate, data, expected.roots, info.time) : null,
    policy: info.policy,
    serial: info.serial.body.toString('hex').replace(/^(00)+(?=.)/, ''),
  };
}

function trustedChain(
  certificate: Certificate,
  data: SignedData,
  roots: readonly Certificate[],
  at: Date,
): Certificate[] {
  const intermediates = data.certificates;
  try {
    return buildChain(certificate, { intermediates, roots, at, usage: OID.timeStamping });
  } catch (error) {
    if (!(error instanceof SignpipeError)) throw error;
    throw invalid('timestamp-untrusted', error.message, {
      cause: error,
      hint: 'if you trust that authority, add public and the certificate at the top of its chain to signing.timestampRoots',
    });
  }
}
