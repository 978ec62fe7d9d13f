/** Values of attributes in a PKCS#11 URI (RFC 7512, 2.3). */

/** Says what is wrong with a value, for the tail of a message that names the attribute. */
export class UriPartError extends Error {}

/** Characters that stand for themselves, besides percent-encoded ones: `pk11-pchar` and `pk11-qchar`. */
const ALLOWED = { path: /[\w.~:[\]@!$'()*+,=&-]/, query: /[\w.~:[\]@!$'()*+,=/?|-]/ } as const;

function refuseCharacter(character: string): never {
  const encoded = [...Buffer.from(character)]
    .map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
    .join('');
  throw new UriPartError(
    character === '%'
      ? 'two hexadecimal digits must follow each "%"'
      : `${character === ' ' ? 'a space' : JSON.stringify(character)} must be written as ${encoded}`,
  );
}

/** Decodes a percent-encoded value; every character must be allowed. Throws UriPartError. */
export function decodeValue(value: string, place: 'path' | 'query'): Buffer {
  const bytes: number[] = [];
  for (let at = 0; at < value.length;) {
    const character = String.fromCodePoint(value.codePointAt(at) ?? 0);
    const hex = value.slice(at + 1, at + 3);
    if (character === '%' && /^[\dA-Fa-f]{2}$/.test(hex)) {
      bytes.push(Number.parseInt(hex, 16));
      at += 3;
    } else if (ALLOWED[place].test(character)) {
      bytes.push(character.charCodeAt(0));
      at += 1;
    } else refuseCharacter(character);
  }
  return Buffer.from(bytes);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Text of at least one and at most `most` bytes, without control characters. Throws UriPartError. */
export function readText(value: Buffer, most: number): string {
  if (value.length === 0) throw new UriPartError('is empty');
  if (value.length > most) throw new UriPartError(`has more than ${most} bytes`);
  let text: string;
  try {
    text = utf8.decode(value);
  } catch {
    throw new UriPartError('is not UTF-8');
  }
  if (/\p{Cc}/u.test(text)) throw new UriPartError('has a control character');
  return text;
}

/** A decimal number in a range. Throws UriPartError. */
export function readNumber(value: Buffer, least: number, most: number): number {
  const text = value.toString('latin1');
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new UriPartError(
    most === Number.MAX_SAFE_INTEGER
      ? 'must be a decimal number'
      : `must be a number from ${least} to ${most}`,
  );
}

/** A version: `1*DIGIT [ "." 1*DIGIT ]`, each part one byte in the token. Throws UriPartError. */
export function readVersion(value: Buffer): { readonly major: number; readonly minor: number } {
  const match = /^(\d{1,3})(?:\.(\d{1,3}))?$/.exec(value.toString('latin1'));
  const [major, minor] = [Number(match?.[1] ?? Number.NaN), Number(match?.[2] ?? 0)];
  if (major <= 255 && minor <= 255) return { major, minor };
  throw new UriPartError('must be a version such as 2.6');
}
