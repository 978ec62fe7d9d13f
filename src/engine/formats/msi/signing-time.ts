import { parseDer } from '../../../lib/asn1/der.ts';
import { parseSignerInfo, claimedSigningTime } from '../../../lib/cms/signed-data.ts';
import { isInvalid } from '../../../lib/errors.ts';
import { readSignature } from '../../authenticode/signature.ts';
import { parseToken } from '../../timestamp/token/token.ts';

/** 1601-01-01, from which FILETIMEs count, to 1970-01-01, in milliseconds. */
const EPOCH = 11_644_473_600_000n;

/** A FILETIME, 8 bytes: steps of 100 ns since 1601. ole32 writes whole milliseconds. */
export function fileTime(time: Date): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE((BigInt(time.getTime()) + EPOCH) * 10_000n);
  return bytes;
}

/** The time of a FILETIME, in milliseconds since 1970. */
export const fromFileTime = (bytes: Buffer): number => Number(bytes.readBigUInt64LE() / 10_000n - EPOCH);

/** When a signature was made, by its timestamp or else by what its signer claims, unverified; undefined if it does not say. */
export function timeOfSignature(der: Buffer, what: string): Date | undefined {
  try {
    const { timestamps, counterSignatures, signingTime } = readSignature(der, what);
    const [[token], [counter]] = [timestamps, counterSignatures];
    if (token) return parseToken(parseDer(token, what), what).info.time;
    return counter ? claimedSigningTime(parseSignerInfo(counter, what), what) : signingTime;
  } catch (error) {
    // The verifier reports what is wrong with it.
    if (isInvalid(error)) return undefined;
    throw error;
  }
}
