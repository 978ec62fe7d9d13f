import { TAG, tlv } from '../asn1/der.ts';
import { invalid } from '../errors.ts';

/** PKCS#12 nests a dozen levels; more is an attack. */
const DEEPEST = 40;

const CONSTRUCTED = 0x20;
const END_OF_CONTENTS = 2;

const broken = (what: string, why: string) => invalid('ber-malformed', `${what}: ${why}`);

interface Header {
  tag: number;
  start: number;
  /** Undefined when the length is indefinite. */
  end: number | undefined;
}

function readHeader(bytes: Buffer, at: number, end: number, what: string): Header {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || at + 2 > end) throw broken(what, 'ends within an element');
  if ((tag & 0x1f) === 0x1f) throw broken(what, 'uses a tag number above 30');
  if (first === 0x80) {
    if ((tag & CONSTRUCTED) === 0) throw broken(what, 'a primitive element of indefinite length');
    return { tag, start: at + 2, end: undefined };
  }
  const count = first < 0x80 ? 0 : first & 0x7f;
  const start = at + 2 + count;
  if (count > 4 || start > end) throw broken(what, 'a length that cannot be');
  const length = count === 0 ? first : bytes.readUIntBE(at + 2, count);
  if (length > end - start) throw broken(what, 'an element longer than what holds it');
  return { tag, start, end: start + length };
}

class Normaliser {
  constructor(
    private readonly bytes: Buffer,
    private readonly what: string,
  ) {}

  /** One element as DER, and where the next one begins. */
  element(at: number, end: number, depth: number): { der: Buffer; next: number } {
    if (depth > DEEPEST) throw broken(this.what, `nested more than ${DEEPEST} deep`);
    const header = readHeader(this.bytes, at, end, this.what);
    if ((header.tag & CONSTRUCTED) === 0)
      return {
        der: tlv(header.tag, this.bytes.subarray(header.start, header.end)),
        next: header.end ?? end,
      };
    const { parts, next } = this.inside(header, end, depth);
    if (header.tag !== (TAG.octetString | CONSTRUCTED)) return { der: tlv(header.tag, ...parts), next };
    return { der: tlv(TAG.octetString, ...parts.map((part) => this.fragment(part))), next };
  }

  private inside(header: Header, limit: number, depth: number): { parts: Buffer[]; next: number } {
    const parts: Buffer[] = [];
    const end = header.end ?? limit;
    for (let at = header.start; ;) {
      if (header.end !== undefined && at === end) return { parts, next: at };
      if (header.end === undefined && at + END_OF_CONTENTS <= end && this.bytes.readUInt16BE(at) === 0)
        return { parts, next: at + END_OF_CONTENTS };
      const { der, next } = this.element(at, end, depth + 1);
      parts.push(der);
      at = next;
    }
  }

  /** The content of one piece of a constructed OCTET STRING, already normalised. */
  private fragment(part: Buffer): Buffer {
    if (part[0] !== TAG.octetString) throw broken(this.what, 'a string made of something else');
    const { start, end } = readHeader(part, 0, part.length, this.what);
    return part.subarray(start, end);
  }
}

/**
 * PKCS#12 is BER (RFC 7292, 4): Windows and NSS write indefinite lengths and OCTET STRINGs in pieces.
 * This gives the same value with definite, shortest lengths and whole strings, for the strict DER
 * reader. Throws `ber-malformed`, also when bytes follow the element.
 */
export function berToDer(bytes: Buffer, what: string): Buffer {
  const { der, next } = new Normaliser(bytes, what).element(0, bytes.length, 0);
  if (next !== bytes.length) throw broken(what, `${bytes.length - next} bytes too many at its end`);
  return der;
}
