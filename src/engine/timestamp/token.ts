import {
  boolean,
  children,
  context,
  contextPrimitive,
  DerReader,
  integer,
  NULL,
  octets,
  oid,
  parseDer,
  readBitString,
  readBoolean,
  readInteger,
  readOctets,
  readOid,
  readSmallInteger,
  readText,
  readTime,
  seq,
  TAG,
  type Der,
} from '../../lib/asn1/der.ts';
import { digestName, OID, type DigestName, type KnownDigest } from '../../lib/asn1/oids.ts';
import {
  findSignerCertificate,
  readSignedData,
  signerDigest,
  verifySigner,
  type SignedData,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { buildChain } from '../../lib/x509/chain.ts';
import { checkEssCertId } from './ess-cert-id.ts';

export interface TimestampRequest {
  /** The digest of what is stamped. */
  readonly imprint: Buffer;
  readonly hash: DigestName;
  /** Fresh random octets, taken as an unsigned number; 8 or more. */
  readonly nonce: Buffer;
  /** The policy that the authority must stamp under, dotted; any when left out. */
  readonly policy?: string | undefined;
}

/** What a token must say for it to be ours. */
export interface TokenExpectation {
  readonly imprint: Buffer;
  readonly hash: KnownDigest;
  /** Left out when the token was found in a file, where the request is long gone. */
  readonly nonce?: Buffer | undefined;
  readonly policy?: string | undefined;
  /** The token's time must not lie before this. */
  readonly earliest?: Date | undefined;
  /** The token's time must not lie after this. */
  readonly latest?: Date | undefined;
  /** With these the authority's chain is checked too, at the token's time. */
  readonly roots?: readonly Certificate[] | undefined;
  /** Lets a token be signed over SHA-1, as old ones in other people's files are. */
  readonly weakDigests?: boolean | undefined;
  /**
   * Lets the authority's certificate be for timestamping alone without marking that critical, as
   * Microsoft's own authorities of about 2018 have it. RFC 3161 (2.3) wants it marked.
   */
  readonly uncriticalPurpose?: boolean | undefined;
  /** What the token belongs to, for messages. */
  readonly what?: string | undefined;
}

export interface TimestampInfo {
  readonly time: Date;
  /** The authority's subject. */
  readonly authority: string;
  readonly certificate: Certificate;
  /** All that came with the token. */
  readonly certificates: readonly Certificate[];
  /** From the authority up to the root when roots were given, otherwise null. */
  readonly chain: readonly Certificate[] | null;
  /** Dotted. */
  readonly policy: string;
  /** Lower-case hex. */
  readonly serial: string;
}

/** TimeStampReq (RFC 3161, 2.4.1). The authority is asked to send its certificates along. */
export function buildTimestampRequest({ imprint, hash, nonce, policy }: TimestampRequest): Buffer {
  return seq(
    integer(1),
    seq(seq(oid(OID[hash]), NULL), octets(imprint)),
    ...(policy === undefined ? [] : [oid(policy)]),
    integer(nonce),
    boolean(true),
  );
}

/** PKIStatus (RFC 3161, 2.4.2). */
const STATUS = [
  'granted',
  'granted with modifications',
  'rejection',
  'waiting',
  'revocation warning',
  'revocation notification',
];

/** PKIFailureInfo, by bit (RFC 3161, 2.4.2). */
const FAILURES: Record<number, string> = {
  0: 'badAlg',
  2: 'badRequest',
  5: 'badDataFormat',
  14: 'timeNotAvailable',
  15: 'unacceptedPolicy',
  16: 'unacceptedExtension',
  17: 'addInfoNotAvailable',
  25: 'systemFailure',
};

function failureNames(der: Der, what: string): string[] {
  const { bytes } = readBitString(der, what);
  const set = Array.from({ length: bytes.length * 8 }, (_, bit) => bit).filter(
    (bit) => (((bytes[bit >> 3] ?? 0) << (bit & 7)) & 0x80) !== 0,
  );
  return set.map((bit) => FAILURES[bit] ?? `failure ${bit}`);
}

/** PKIStatusInfo (RFC 3161, 2.4.2): throws `timestamp-status` unless a token was granted. */
function checkStatus(der: Der, what: string): void {
  const reader = new DerReader(der, what);
  const status = readSmallInteger(reader.next(TAG.integer), what);
  const text = reader.optional(TAG.sequence);
  const failure = reader.optional(TAG.bitString);
  reader.end();
  if (status === 0 || status === 1) return;
  const reasons = [
    ...(failure ? failureNames(failure, what) : []),
    ...(text ? children(text, what).map((each) => printable(readText(each, what).trim(), 200)) : []),
  ];
  const detail = reasons.length > 0 ? `: ${reasons.join(', ')}` : '';
  throw invalid('timestamp-status', `${what}: ${STATUS[status] ?? `status ${status}`}${detail}`);
}

/** Runs `read`; what it finds broken is reported under `code`, unless it is our own finding already. */
export function reporting<T>(code: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SignpipeError) || error.code.startsWith('timestamp-')) throw error;
    throw invalid(code, error.message, { cause: error });
  }
}

/**
 * TimeStampResp (RFC 3161, 2.4.2): the token in it, a ContentInfo in DER, not yet checked.
 * Throws `timestamp-status` or `timestamp-malformed`.
 */
export function parseTimestampResponse(der: Buffer, what: string): { token: Buffer } {
  return reporting('timestamp-malformed', () => {
    const reader = DerReader.of(der, what);
    checkStatus(reader.next(TAG.sequence), what);
    const token = reader.next(TAG.sequence).raw;
    reader.end();
    return { token };
  });
}

/** TSTInfo (RFC 3161, 2.4.2). */
export interface TstInfo {
  readonly policy: string;
  readonly hash: KnownDigest | undefined;
  readonly imprint: Buffer;
  readonly serial: Der;
  readonly time: Date;
  readonly nonce: bigint | null;
}

/** Accuracy ::= SEQUENCE { seconds, [0] millis, [1] micros }, all optional: read for its form only. */
function skipAccuracy(der: Der | undefined, what: string): void {
  if (!der) return;
  const reader = new DerReader(der, what);
  for (const tag of [TAG.integer, contextPrimitive(0), contextPrimitive(1)]) reader.optional(tag);
  reader.end();
}

/** RFC 3161, 2.4.2: a token with a critical extension that we do not know must be refused. */
function refuseCritical(extensions: Der | undefined, what: string): void {
  for (const each of extensions ? children(extensions, what) : []) {
    const reader = new DerReader(each, what);
    const type = readOid(reader.next(), what);
    const critical = reader.optional(TAG.boolean);
    if (critical && readBoolean(critical, what))
      throw invalid('timestamp-malformed', `${what}: has an unknown critical extension (${type})`);
  }
}

function readImprint(der: Der, what: string): Pick<TstInfo, 'hash' | 'imprint'> {
  const reader = new DerReader(der, what);
  const algorithm = new DerReader(reader.next(TAG.sequence), what);
  const imprint = readOctets(reader.next(), what);
  reader.end();
  return { hash: digestName(readOid(algorithm.next(), what)), imprint };
}

function readTstInfo(bytes: Buffer, what: string): TstInfo {
  const reader = DerReader.of(bytes, what);
  const version = readSmallInteger(reader.next(TAG.integer), what);
  if (version !== 1) throw invalid('timestamp-malformed', `${what}: TSTInfo of version ${version}`);
  const policy = readOid(reader.next(), what);
  const imprint = readImprint(reader.next(TAG.sequence), what);
  const serial = reader.next(TAG.integer);
  const time = readTime(reader.next(TAG.generalizedTime), what);
  skipAccuracy(reader.optional(TAG.sequence), what);
  reader.optional(TAG.boolean);
  const nonce = reader.optional(TAG.integer);
  // The authority's name may be written in many ways; ESSCertID says who it is, and is checked.
  reader.optional(context(0));
  refuseCritical(reader.optional(context(1)), what);
  reader.end();
  return { policy, ...imprint, serial, time, nonce: nonce ? readInteger(nonce, what) : null };
}

/** A token that was read, and of which nothing is checked. */
export interface Token {
  readonly data: SignedData;
  readonly signer: SignerInfo;
  /** TSTInfo, as it was signed. */
  readonly content: Buffer;
  readonly info: TstInfo;
}

/**
 * SignedData is of version 3 when its content is not id-data (RFC 5652, 5.1), and SignerInfo of version 1
 * or, when it names its certificate by key identifier, 3 (5.3). Versions are not signed.
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
    throw invalid('timestamp-malformed', `${what}: signs something else than a time`);
  if (!signer || another) throw invalid('timestamp-malformed', `${what}: must have exactly one signature`);
  checkVersions(data, signer, what);
  const content = readOctets(data.content, what);
  return { data, signer, content, info: readTstInfo(content, what) };
}

const parseTokenBytes = (token: Buffer, what: string): Token =>
  reporting('timestamp-malformed', () => readToken(parseDer(token, what), what));

/** Reads a token (ContentInfo); throws `timestamp-malformed`. */
export const parseToken = (token: Der, what: string): Token =>
  reporting('timestamp-malformed', () => readToken(token, what));

/**
 * The digest that a token's imprint was made with: of a token found in a file, nothing else says
 * which. Throws `cms-digest-unknown`.
 */
export function imprintDigest({ info: { hash } }: Token, what: string): KnownDigest {
  if (!hash) throw invalid('cms-digest-unknown', `${what}: its imprint is made with an unknown digest`);
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
      {
        hint: 'An answer to an older request may have been replayed or cached on the way',
      },
    );
  if (policy !== undefined && info.policy !== policy)
    throw invalid('timestamp-policy', `${what}: stamped under policy ${info.policy}, not ${policy}`);
}

/** The authority's certificate, which must have come along: we ask for it, and Windows needs it. */
function requireCertificate({ data, signer }: Token, what: string): Certificate {
  const certificate = findSignerCertificate(data, signer);
  if (certificate) return certificate;
  throw invalid('timestamp-certificate', `${what}: came without its authority's certificate`);
}

function checkSignature({ signer, content }: Token, certificate: Certificate, weak: boolean, what: string) {
  reporting('timestamp-signature', () => {
    const digest = signerDigest(signer, what);
    if (digest === 'md5' || (digest === 'sha1' && !weak))
      throw invalid('timestamp-signature', `${what}: signed over ${digest}, which is no longer safe`);
    // RFC 5652, 5.3: content of another type than id-data is signed through attributes, always.
    if (!signer.signedAttributesDer)
      throw invalid('timestamp-signature', `${what}: has no signed attributes`);
    verifySigner(signer, certificate, OID.tstInfo, content, what);
  });
}

/** RFC 3161, 2.3: the purpose timeStamping, alone and (unless `uncritical`) critical; valid when it stamped. */
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
  if (time < certificate.notBefore) throw refuse('was not valid yet when it stamped');
  if (time > certificate.notAfter) throw refuse('had expired when it stamped');
}

function checkTime(time: Date, { earliest, latest }: TokenExpectation, what: string): void {
  const [bound, relation] =
    earliest && time < earliest ? [earliest, 'before'] : latest && time > latest ? [latest, 'after'] : [];
  if (!bound) return;
  throw invalid(
    'timestamp-time',
    `${what}: its time is ${time.toISOString()}, ${relation} ${bound.toISOString()}`,
    { hint: 'Check the clock of this machine' },
  );
}

/**
 * Checks a token (RFC 3161, 2.4.2; RFC 5816) step by step and tells what it says. Nothing of it is to
 * be used unless this returns.
 *
 * | code                    | meaning                                                                     |
 * | ----------------------- | --------------------------------------------------------------------------- |
 * | `timestamp-malformed`   | not a token                                                                 |
 * | `timestamp-imprint`     | over other data, or by another digest                                       |
 * | `timestamp-nonce`       | the answer to another request                                               |
 * | `timestamp-policy`      | under another policy than asked for                                         |
 * | `timestamp-certificate` | missing, not for timestamping alone, not valid at the time, or not the one meant |
 * | `timestamp-signature`   | the authority's signature does not hold                                     |
 * | `timestamp-time`        | outside `earliest` to `latest`                                              |
 * | `timestamp-untrusted`   | no chain to any of `roots`                                                  |
 */
export function checkToken(token: Buffer | Token, expected: TokenExpectation): TimestampInfo {
  const what = expected.what ?? 'timestamp';
  const parsed = Buffer.isBuffer(token) ? parseTokenBytes(token, what) : token;
  const { data, info, signer } = parsed;
  checkAnswer(info, expected, what);
  const certificate = requireCertificate(parsed, what);
  checkSignature(parsed, certificate, expected.weakDigests ?? false, what);
  reporting('timestamp-certificate', () => checkEssCertId(signer, certificate, what));
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
      hint: 'if you trust that authority, add the certificate at the top of its chain: timestampRoots: [public, FILE]',
    });
  }
}
