import { boolean, integer, NULL, octets, oid, seq } from '../../../lib/asn1/encode-der.ts';
import {
  children,
  DerReader,
  readBitString,
  readSmallInteger,
  readText,
  TAG,
  type Der,
} from '../../../lib/asn1/der.ts';
import { OID, type DigestName } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import { withTimestampCode } from '../timestamp-errors.ts';

/** The fields of a request that vary. */
interface TimestampRequest {
  /** The digest of the data that gets the timestamp. */
  readonly imprint: Buffer;
  readonly hash: DigestName;
  /** Fresh random octets of a positive INTEGER; 8 or more. */
  readonly nonce: Buffer;
  /** The policy that the authority must use, dotted; any if left out. */
  readonly policy?: string | undefined;
}

/** Returns a TimeStampReq (RFC 3161, 2.4.1). It asks the authority to include its certificates. */
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
  const bits = Array.from({ length: bytes.length * 8 }, (_, bit) => bit).filter(
    (bit) => (((bytes[bit >> 3] ?? 0) << (bit & 7)) & 0x80) !== 0,
  );
  return bits.map((bit) => FAILURES[bit] ?? `failure ${bit}`);
}

/** Reads a PKIStatusInfo (RFC 3161, 2.4.2). Throws `timestamp-status` unless a token was granted. */
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

/**
 * Reads a TimeStampResp (RFC 3161, 2.4.2). The token in it is a ContentInfo in DER, which is not checked here.
 * Throws `timestamp-status` or `timestamp-malformed`.
 */
export function parseTimestampResponse(der: Buffer, what: string): { token: Buffer } {
  return withTimestampCode('timestamp-malformed', () => {
    const reader = DerReader.of(der, what);
    checkStatus(reader.next(TAG.sequence), what);
    const token = reader.next(TAG.sequence).raw;
    reader.end();
    return { token };
  });
}
