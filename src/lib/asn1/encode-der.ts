import { context, readDer, TAG } from './der.ts';

/** A value with any tag, whose contents are the parts. */
export function tlv(tag: number, ...parts: readonly Buffer[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const octets = length < 0x80 ? 0 : length < 0x100 ? 1 : length < 0x10000 ? 2 : length < 0x1000000 ? 3 : 4;
  const result = Buffer.allocUnsafe(2 + octets + length);
  result[0] = tag;
  result[1] = octets === 0 ? length : 0x80 | octets;
  if (octets > 0) result.writeUIntBE(length, 2, octets);
  let at = 2 + octets;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

export const seq = (...parts: readonly Buffer[]): Buffer => tlv(TAG.sequence, ...parts);

/** SET OF, its members in DER order (X.690 section 11.6). */
export const set = (...parts: readonly Buffer[]): Buffer => tlv(TAG.set, ...sorted(parts));

/** Members of a SET OF in DER order: by their octets. */
export const sorted = (parts: readonly Buffer[]): Buffer[] => [...parts].sort((a, b) => a.compare(b));

/** `[n] EXPLICIT`. */
export const explicit = (n: number, ...parts: readonly Buffer[]): Buffer => tlv(context(n), ...parts);

/** `[n] IMPLICIT`: the contents of `value` under the context tag; constructed stays constructed. */
export function implicit(n: number, value: Buffer): Buffer {
  const { der } = readDer(value, 'implicit value');
  return tlv(0x80 | (der.tag & 0x20) | n, der.body);
}

export const NULL = tlv(TAG.null);

export const boolean = (value: boolean): Buffer => tlv(TAG.boolean, Buffer.from([value ? 0xff : 0]));

/** Only for speed: encoded object identifiers by their dotted form, up to a limit. */
const writtenOids = new Map<string, Buffer>();
const MAX_OIDS = 1000;

/** OBJECT IDENTIFIER from its dotted form; arcs of any size, since 2.25 ones have 128 bits (X.690 section 8.19). */
export function oid(dotted: string): Buffer {
  const cached = writtenOids.get(dotted);
  if (cached) return cached;
  const encoded = oidBytes(dotted);
  if (writtenOids.size < MAX_OIDS) writtenOids.set(dotted, encoded);
  return encoded;
}

function oidBytes(dotted: string): Buffer {
  const [first = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt);
  return tlv(TAG.oid, ...[first * 40n + second, ...rest].map(base128));
}

function base128(value: bigint): Buffer {
  const groups = [Number(value & 0x7fn)];
  for (let left = value >> 7n; left > 0n; left >>= 7n) groups.unshift(Number(left & 0x7fn) | 0x80);
  return Buffer.from(groups);
}

/** INTEGER from a number, or from an unsigned magnitude in big-endian octets (a serial number, a nonce). */
export function integer(value: number | bigint | Buffer): Buffer {
  if (Buffer.isBuffer(value))
    return tlv(TAG.integer, minimalInteger(Buffer.concat([Buffer.from([0]), value])));
  const big = BigInt(value);
  let octets = 1;
  while (BigInt.asIntN(octets * 8, big) !== big) octets += 1;
  const hex = BigInt.asUintN(octets * 8, big).toString(16);
  return tlv(TAG.integer, Buffer.from(hex.padStart(octets * 2, '0'), 'hex'));
}

function minimalInteger(octets: Buffer): Buffer {
  let at = 0;
  while (at < octets.length - 1 && octets[at] === 0 && (octets[at + 1] ?? 0) < 0x80) at += 1;
  return octets.subarray(at);
}

export const octets = (content: Buffer): Buffer => tlv(TAG.octetString, content);

export const bitString = (content: Buffer, unusedBits = 0): Buffer =>
  tlv(TAG.bitString, Buffer.from([unusedBits]), content);

export const utf8 = (text: string): Buffer => tlv(TAG.utf8String, Buffer.from(text, 'utf8'));

/** BMPString contents: UTF-16, big-endian. */
export const bmpOctets = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

export const bmp = (text: string): Buffer => tlv(TAG.bmpString, bmpOctets(text));

const compactTime = (date: Date): string => date.toISOString().replace(/\.\d+/, '').replace(/[-:T]/g, '');

export const generalizedTime = (date: Date): Buffer =>
  tlv(TAG.generalizedTime, Buffer.from(compactTime(date), 'latin1'));

/** RFC 5652 section 11.3 and RFC 5280 section 4.1.2.5: UTCTime from 1950 through 2049, then GeneralizedTime. */
export function time(date: Date): Buffer {
  const year = date.getUTCFullYear();
  if (year < 1950 || year > 2049) return generalizedTime(date);
  return tlv(TAG.utcTime, Buffer.from(compactTime(date).slice(2), 'latin1'));
}
