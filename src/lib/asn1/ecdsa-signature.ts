import { invalid } from '../errors.ts';
import { integer, seq } from './encode-der.ts';

/** In bytes: r and s on P-521, the largest curve in use. */
const MAX_RAW = 2 * 66;

/**
 * Encodes an ECDSA signature of two integers of one length, r || s (PKCS #11, 2.3.1; RFC 7518, 3.4), as a DER
 * ECDSA-Sig-Value (RFC 3279, 2.2.3). Throws `ecdsa-signature-malformed`.
 */
export function ecdsaRawToDer(raw: Buffer, what: string): Buffer {
  const half = raw.length / 2;
  if (raw.length === 0 || raw.length > MAX_RAW || !Number.isInteger(half))
    throw invalid('ecdsa-signature-malformed', `${what}: an ECDSA signature of ${raw.length} bytes`);
  return seq(integer(raw.subarray(0, half)), integer(raw.subarray(half)));
}
