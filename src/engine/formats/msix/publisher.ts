import { createHash } from 'node:crypto';

/** Digits of Crockford's base 32. */
const DIGITS = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * The 13 characters that stand for the publisher in the full name of a package: the first 64 bits of the SHA-256 of its
 * text in UTF-16, in base 32, padded with one zero bit.
 */
export function publisherId(publisher: string): string {
  const hash = createHash('sha256').update(publisher, 'utf16le').digest();
  const bits = hash.readBigUInt64BE(0) << 1n;
  return Array.from({ length: 13 }, (_, at) => DIGITS[Number((bits >> BigInt(5 * (12 - at))) & 31n)]).join(
    '',
  );
}
