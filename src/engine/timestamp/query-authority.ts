import { createHash, randomBytes } from 'node:crypto';
import type { Der } from '../../lib/asn1/der.ts';
import type { DigestName } from '../../lib/asn1/oids.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import type { TimestampEndpoint } from './transport/endpoint.ts';
import { checkToken, parseToken, type TimestampInfo } from './token/token.ts';
import { trimToken } from './token/trim-token.ts';
import { buildTimestampRequest, parseTimestampResponse } from './token/tsp-messages.ts';

/** A checked token, and the authority that it came from. */
export interface Timestamp {
  /** ContentInfo, DER. */
  readonly token: Buffer;
  readonly info: TimestampInfo;
  readonly url: string;
}

/**
 * A further check of a token (ContentInfo) in the form in which it will be embedded; `what` names the authority in
 * messages. If it throws, the authority has failed and the next one is asked.
 */
export type CheckToken = (token: Der, what: string) => void;

/** What a timestamp is asked for. */
export interface StampQuery {
  readonly imprint: Buffer;
  readonly hash: DigestName;
  readonly check: CheckToken | undefined;
}

export const stampQuery = (data: Buffer, hash: DigestName, check: CheckToken | undefined): StampQuery => ({
  imprint: createHash(hash).update(data).digest(),
  hash,
  check,
});

interface QuerySettings {
  readonly timeoutMs: number;
  readonly clockToleranceMs: number;
  readonly policy?: string | undefined;
  readonly roots?: readonly Certificate[] | undefined;
}

const NONCE_BYTES = 16;

/** Returns 16 random octets that are a positive INTEGER without a leading zero: some authorities mangle others. */
function freshNonce(): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  nonce[0] = ((nonce[0] ?? 0) & 0x7f) | 0x40;
  return nonce;
}

/** Sends one request and checks the answer. Throws what is wrong with it, and the reason of `signal`. */
export async function queryAuthority(
  endpoint: TimestampEndpoint,
  { imprint, hash, check }: StampQuery,
  settings: QuerySettings,
  signal: AbortSignal | undefined,
): Promise<Timestamp> {
  const { policy, roots, clockToleranceMs, timeoutMs } = settings;
  const { url } = endpoint;
  const nonce = freshNonce();
  const earliest = new Date(Date.now() - clockToleranceMs);
  const query = buildTimestampRequest({ imprint, hash, nonce, policy });
  // Counted from the sending: the first request takes longer to make than the next ones.
  endpoint.pace?.begin(performance.now());
  const response = await endpoint.post(query, timeoutMs, signal);
  const latest = new Date(Date.now() + clockToleranceMs);
  const token = trimToken(parseTimestampResponse(response, url).token, roots, url);
  const expected = { imprint, hash, nonce, policy, roots, earliest, latest, what: url };
  const info = checkToken(parseToken(token, url), expected);
  check?.(token, url);
  return { token: token.raw, info, url };
}
