import { invalid, type SignpipeError } from '../errors.ts';

/**
 * A DER value (ITU-T X.690). It keeps the exact bytes from which it was parsed, since signatures cover bytes, not
 * their meaning. Only DER is accepted: BER's indefinite and over-long lengths are refused, and so are trailing bytes.
 */
export interface Der {
  /** Identifier octet: class, constructed bit and number; high tag numbers are refused. */
  readonly tag: number;
  /** Tag, length and contents. */
  readonly raw: Buffer;
  /** Contents alone. */
  readonly body: Buffer;
}

/** Identifier octets of the universal types in use. */
export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  t61String: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

/** Identifier octet of a constructed context-specific value, `[n]`. */
export const context = (n: number): number => 0xa0 | n;

/** Identifier octet of a primitive context-specific value, `[n] IMPLICIT` of a primitive type. */
export const contextPrimitive = (n: number): number => 0x80 | n;

const malformed = (what: string, why: string): SignpipeError =>
  invalid('der-malformed', `${what}: not valid DER: ${why}`);

/** Only for speed: a value that slices its bytes when they are used, since most values are only passed over. */
class LazyDer implements Der {
  private rawBytes: Buffer | undefined;
  private bodyBytes: Buffer | undefined;

  constructor(
    readonly tag: number,
    readonly source: Buffer,
    readonly start: number,
    readonly bodyStart: number,
    readonly end: number,
  ) {}

  get raw(): Buffer {
    return (this.rawBytes ??= this.source.subarray(this.start, this.end));
  }

  get body(): Buffer {
    return (this.bodyBytes ??= this.source.subarray(this.bodyStart, this.end));
  }
}

/**
 * Parses the value that begins at `start` and must end by `limit`. X.690 sections 8.1.3 and 10.1: its length is
 * definite, and in as few octets as possible.
 */
function readValue(source: Buffer, start: number, limit: number, what: string): LazyDer {
  const tag = source[start];
  if (tag === undefined || start >= limit) throw malformed(what, 'a value is missing');
  if ((tag & 0x1f) === 0x1f) throw malformed(what, 'a high tag number');
  const first = source[start + 1];
  if (first === undefined || start + 2 > limit) throw malformed(what, 'it ends inside a header');
  const long = first >= 0x80;
  const bodyStart = start + 2 + (long ? first & 0x7f : 0);
  const length = long ? readLongLength(source, start + 2, bodyStart, limit, what) : first;
  if (bodyStart + length > limit) throw malformed(what, `a value of ${length} bytes runs past the end`);
  return new LazyDer(tag, source, start, bodyStart, bodyStart + length);
}

/** A length in the long form, in the octets from `from` to `to`. */
function readLongLength(source: Buffer, from: number, to: number, limit: number, what: string): number {
  const count = to - from;
  if (count === 0) throw malformed(what, 'indefinite length (BER)');
  if (count > 4 || to > limit) throw malformed(what, 'it ends inside a length, or the length is too long');
  const length = source.readUIntBE(from, count);
  if (length < 0x80 || source[from] === 0) throw malformed(what, 'a length in more octets than needed (BER)');
  return length;
}

/** Parses the value at the start of `bytes`; `rest` are the bytes behind it. `what` names the structure in errors. */
export function readDer(bytes: Buffer, what: string): { der: Der; rest: Buffer } {
  const der = readValue(bytes, 0, bytes.length, what);
  return { der, rest: bytes.subarray(der.end) };
}

/** Parses one value that takes up every byte; throws `der-malformed` otherwise. */
export function parseDer(bytes: Buffer, what: string): Der {
  const der = readValue(bytes, 0, bytes.length, what);
  if (der.end < bytes.length) throw malformed(what, `${bytes.length - der.end} bytes after its end`);
  return der;
}

/** The most children that one value may have: far more than in any structure that is read here. */
const MAX_CHILDREN = 10_000;

/** The direct children of a constructed value, every byte consumed; at most 10,000, unless more can be expected. */
export function children(der: Der, what: string, most = MAX_CHILDREN): Der[] {
  if ((der.tag & 0x20) === 0) throw malformed(what, 'a constructed value was expected');
  const [source, start, end] =
    der instanceof LazyDer ? [der.source, der.bodyStart, der.end] : [der.body, 0, der.body.length];
  const result: Der[] = [];
  for (let at = start; at < end;) {
    const next = readValue(source, at, end, what);
    if (result.push(next) > most) throw malformed(what, `more than ${most} values in one`);
    at = next.end;
  }
  return result;
}

/** Throws unless `der` has this tag. */
export function expectTag(der: Der, tag: number, what: string): Der {
  if (der.tag !== tag) throw malformed(what, `tag 0x${der.tag.toString(16)}, expected 0x${tag.toString(16)}`);
  return der;
}

/** Reads the children of a SEQUENCE one by one, in the order of its ASN.1; `end` refuses any that are left. */
export class DerReader {
  /** All children, read or not. */
  readonly all: readonly Der[];
  private readonly what: string;
  private at = 0;

  constructor(der: Der, what: string, tag: number = TAG.sequence) {
    this.all = children(expectTag(der, tag, what), what);
    this.what = what;
  }

  /** Parses `bytes` as one SEQUENCE (or `tag`) that takes up every byte. */
  static of(bytes: Buffer, what: string, tag?: number): DerReader {
    return new DerReader(parseDer(bytes, what), what, tag);
  }

  /** The next value, which must be there and have `tag` if one is given. */
  next(tag?: number): Der {
    const value = this.all[this.at++];
    if (!value) throw malformed(this.what, 'a value is missing');
    return tag === undefined ? value : expectTag(value, tag, this.what);
  }

  /** The next value if it has `tag`: an OPTIONAL or DEFAULT component. */
  optional(tag: number): Der | undefined {
    const value = this.all[this.at];
    if (value?.tag !== tag) return undefined;
    this.at += 1;
    return value;
  }

  get done(): boolean {
    return this.at >= this.all.length;
  }

  /** Refuses components beyond those in the ASN.1. */
  end(): void {
    if (!this.done) throw malformed(this.what, 'more values than expected');
  }
}

/** Only for speed: dotted forms by contents, up to a limit. The same few recur. */
const knownOids = new Map<string, string>();
const MAX_OIDS = 1000;

/** OBJECT IDENTIFIER, dotted. */
export function readOid(der: Der, what = 'object identifier'): string {
  const { body } = expectTag(der, TAG.oid, what);
  const last = body[body.length - 1];
  if (last === undefined || body.length > 64 || (last & 0x80) !== 0)
    throw malformed(what, 'a broken object identifier');
  const name = body.toString('latin1');
  const cached = knownOids.get(name);
  if (cached !== undefined) return cached;
  const decoded = dotted(body);
  if (knownOids.size < MAX_OIDS) knownOids.set(name, decoded);
  return decoded;
}

/** X.690 section 8.19; arcs of any size. */
function dotted(body: Buffer): string {
  const arcs: bigint[] = [];
  let value = 0n;
  for (const octet of body) {
    value = (value << 7n) | BigInt(octet & 0x7f);
    if ((octet & 0x80) !== 0) continue;
    if (arcs.length > 0) arcs.push(value);
    else arcs.push(value < 80n ? value / 40n : 2n, value < 80n ? value % 40n : value - 80n);
    value = 0n;
  }
  return arcs.join('.');
}

/** INTEGER or ENUMERATED of any size. */
export function readInteger(der: Der, what = 'integer'): bigint {
  if (der.tag !== TAG.enumerated) expectTag(der, TAG.integer, what);
  const { body } = der;
  const [first, second] = body;
  if (first === undefined) throw malformed(what, 'an empty integer');
  const padded =
    second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  if (padded) throw malformed(what, 'an integer in more octets than needed');
  return BigInt.asIntN(body.length * 8, BigInt(`0x${body.toString('hex')}`));
}

/** An INTEGER for a version or a count: 0 to 2^31-1. */
export function readSmallInteger(der: Der, what = 'integer'): number {
  const { tag, body } = der;
  const first = body[0] ?? 0x80;
  if (tag === TAG.integer && body.length === 1 && first < 0x80) return first;
  const value = readInteger(der, what);
  if (value < 0n || value > 0x7fffffffn) throw malformed(what, 'an integer out of range');
  return Number(value);
}

/** BOOLEAN; DER has 0x00 and 0xff only. */
export function readBoolean(der: Der, what = 'boolean'): boolean {
  const { body } = expectTag(der, TAG.boolean, what);
  if (body.length !== 1 || (body[0] !== 0 && body[0] !== 0xff)) throw malformed(what, 'a broken boolean');
  return body[0] === 0xff;
}

/** OCTET STRING, primitive. */
export const readOctets = (der: Der, what = 'octet string'): Buffer =>
  expectTag(der, TAG.octetString, what).body;

/** BIT STRING, with the number of unused bits in its last octet. */
export function readBitString(der: Der, what = 'bit string'): { bytes: Buffer; unusedBits: number } {
  const { body } = expectTag(der, TAG.bitString, what);
  const unusedBits = body[0];
  if (unusedBits === undefined || unusedBits > 7 || (unusedBits > 0 && body.length === 1))
    throw malformed(what, 'a broken bit string');
  return { bytes: body.subarray(1), unusedBits };
}

const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?Z$/;

/** UTCTime (RFC 5280 section 4.1.2.5.1: 50 and later are 19xx) or GeneralizedTime, in UTC. */
export function readTime(der: Der, what = 'time'): Date {
  const utc = der.tag === TAG.utcTime;
  if (!utc) expectTag(der, TAG.generalizedTime, what);
  const match = (utc ? UTC_TIME : GENERALIZED_TIME).exec(der.body.toString('latin1'));
  if (!match) throw malformed(what, 'a time that is not UTC to the second');
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map(Number);
  const full = utc ? year + (year < 50 ? 2000 : 1900) : year;
  const fraction = Math.floor(Number(`0.${match[7] ?? '0'}`) * 1000);
  const date = new Date(Date.UTC(full, month - 1, day, hour, minute, second, fraction));
  // Date takes 31 February for a day in March: a date that does not exist must not pass as another.
  const rolled =
    date.getUTCMonth() !== month - 1 ||
    date.getUTCDate() !== day ||
    date.getUTCHours() !== hour ||
    date.getUTCMinutes() !== minute;
  if (rolled || second > 59) throw malformed(what, 'a date or time that does not exist');
  return date;
}

/** Decodes any of the string types in which names and descriptions are written. */
export function readText(der: Der, what = 'text'): string {
  switch (der.tag) {
    case TAG.bmpString:
      if (der.body.length % 2 !== 0) throw malformed(what, 'a BMPString of an odd length');
      return Buffer.from(der.body).swap16().toString('utf16le');
    case TAG.utf8String:
      return der.body.toString('utf8');
    case TAG.printableString:
    case TAG.ia5String:
    case TAG.t61String:
      return der.body.toString('latin1');
    default:
      throw malformed(what, `not a string type: tag 0x${der.tag.toString(16)}`);
  }
}
