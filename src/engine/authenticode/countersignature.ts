import { constants, createHash, publicDecrypt, type KeyObject } from 'node:crypto';
import { readOid, type Der } from '../../lib/asn1/der.ts';
import { OID } from '../../lib/asn1/oids.ts';
import { checkMessageDigest, checkSignature, signerDigest } from '../../lib/cms/verify-signer.ts';
import {
  claimedSigningTime,
  findSignerCertificate,
  parseSignerInfo,
  singleAttribute,
  type SignerInfo,
} from '../../lib/cms/signed-data.ts';
import { invalid, messageOf } from '../../lib/errors.ts';
import { checkToken, imprintDigest, parseToken } from '../timestamp/token/token.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { Timestamped } from '../formats/signature-scheme.ts';

/** A timestamp whose signature verifies; whether its authority is trusted is not checked. */
export interface Countersignature {
  readonly kind: 'rfc3161' | 'legacy';
  readonly time: Date;
  readonly authority: string;
  readonly certificate: Certificate;
  /** Possible intermediates between that certificate and a root. */
  readonly certificates: readonly Certificate[];
}

/** How far ahead of our clock a timestamp may be, in milliseconds. */
const CLOCK_SKEW = 10 * 60 * 1000;

interface CountersignatureOptions {
  /** The time must not be more than ten minutes later than this. */
  readonly now: Date;
  /** Accepts old timestamps made with SHA-1. */
  readonly weakDigests: boolean;
  /** The signature that has the timestamp, for messages. */
  readonly what: string;
}

/**
 * Reads and verifies the timestamp of a signature; undefined if it has none. The certificates of a legacy
 * countersignature are among those of the signature.
 *
 * Throws `timestamp-…` as `checkToken` does, `timestamp-several` if there is more than one, and
 * `cms-…` or `der-malformed` if one cannot be read.
 */
export function readCountersignature(
  signature: Timestamped,
  options: CountersignatureOptions,
): Countersignature | undefined {
  const { timestamps, legacyTimestamps } = signature;
  if (timestamps.length + legacyTimestamps.length > 1)
    throw invalid('timestamp-several', `${options.what}: it has more than one timestamp`);
  const [[token], [legacy]] = [timestamps, legacyTimestamps];
  if (token) return readToken(token, signature, options);
  return legacy && readLegacy(legacy, signature, options);
}

const latestOf = ({ now }: CountersignatureOptions): Date => new Date(now.getTime() + CLOCK_SKEW);

/** RFC 3161, over the signature value. */
function readToken(token: Der, { value }: Timestamped, options: CountersignatureOptions): Countersignature {
  const { weakDigests } = options;
  const what = `${options.what}: timestamp`;
  const parsed = parseToken(token, what);
  const hash = imprintDigest(parsed, what);
  if (hash === 'md5' || (hash === 'sha1' && !weakDigests))
    throw invalid(
      'timestamp-imprint',
      `${what}: its imprint is made with ${hash}, which is no longer secure`,
    );
  const imprint = createHash(hash).update(value).digest();
  const latest = latestOf(options);
  // In files by others: Microsoft's older authorities do not mark their purpose critical.
  const expected = { imprint, hash, weakDigests, uncriticalPurpose: true, latest, what };
  const { time, authority, certificate, certificates } = checkToken(parsed, expected);
  return { kind: 'rfc3161', time, authority, certificate, certificates };
}

/**
 * The PKCS #9 countersignature (RFC 2985 section 5.3.6) that Authenticode had before RFC 3161: a
 * SignerInfo over the signature value, whose signingTime is the timestamp.
 */
function readLegacy(
  der: Buffer,
  { value, certificates }: Timestamped,
  options: CountersignatureOptions,
): Countersignature {
  const what = `${options.what}: legacy timestamp`;
  const counter = parseSignerInfo(der, what);
  const digest = signerDigest(counter, what);
  if (digest === 'md5' || (digest === 'sha1' && !options.weakDigests))
    throw invalid('timestamp-signature', `${what}: signed over ${digest}, which is no longer secure`);
  const certificate = findSignerCertificate({ certificates }, counter);
  if (!certificate) throw invalid('timestamp-certificate', `${what}: its authority's certificate is missing`);
  if (!certificate.extendedKeyUsage?.includes(OID.timeStamping))
    throw invalid('timestamp-certificate', `${what}: ${certificate.subject} is not for timestamping`);
  verifyCounter(counter, certificate, value, what);
  const time = claimedSigningTime(counter, what);
  if (!time) throw invalid('timestamp-malformed', `${what}: it has no signing time`);
  if (time > latestOf(options) || time > certificate.notAfter || time < certificate.notBefore)
    throw invalid(
      'timestamp-time',
      `${what}: ${time.toISOString()} is later than now, or its certificate was not valid then`,
    );
  const authority = certificate.subject;
  return { kind: 'legacy', time, authority, certificate, certificates };
}

/** Content types that signers name; RFC 5652 section 11.4 requires none, Microsoft's name data, Certum's a token's. */
const CONTENT_TYPES: readonly (string | undefined)[] = [undefined, OID.data, OID.tstInfo];

function verifyCounter(counter: SignerInfo, certificate: Certificate, stamped: Buffer, what: string): void {
  try {
    const type = singleAttribute(counter.signedAttributes, OID.contentType, what);
    if (!CONTENT_TYPES.includes(type && readOid(type, what)))
      throw invalid('cms-content-type', `${what}: its contentType attribute names neither data nor TSTInfo`);
    checkMessageDigest(counter, stamped, what);
    if (!signsBareDigest(counter, certificate.publicKey, what))
      checkSignature(counter, certificate.publicKey, stamped, what);
  } catch (error) {
    throw invalid('timestamp-signature', messageOf(error), { cause: error });
  }
}

/**
 * Whether an RSA signature holds the bare digest of the signed attributes, padded as in PKCS #1 v1.5 but without
 * the DigestInfo around it, as VeriSign's and Symantec's authorities made it. Windows accepts both.
 */
function signsBareDigest(counter: SignerInfo, key: KeyObject, what: string): boolean {
  const { signedAttributesDer, signature } = counter;
  if (!signedAttributesDer || key.asymmetricKeyType !== 'rsa') return false;
  const digest = createHash(signerDigest(counter, what)).update(signedAttributesDer).digest();
  try {
    return publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature).equals(digest);
  } catch {
    return false;
  }
}
