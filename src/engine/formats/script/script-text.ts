import { isAscii, isUtf8 } from 'node:buffer';
import type { Hash } from 'node:crypto';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';

/*
 * How the text of a script lies in its file. Windows hashes scripts as UTF-16, so it has to decode them, and so does every
 * verifier: text that two readers could decode differently is refused.
 */

/** `bytes`: UTF-8, ASCII, or an unknown code page, in which ASCII characters stand for themselves. */
export type Encoding = 'bytes' | 'utf16le' | 'utf16be';

/** The text of a script, before anything is known about signatures in it. */
export interface ScriptText {
  readonly bytes: Buffer;
  readonly encoding: Encoding;
  /** The length of the byte order mark; 0 if there is none. */
  readonly bom: number;
  /** Bytes of one unit: of a UTF-16 code unit, or a byte. */
  readonly unit: 1 | 2;
  /** What follows the mark, one character for each unit: what is not ASCII may stand for something else. */
  readonly text: string;
  /** Why the text cannot be hashed as Windows would. */
  readonly fault: SignpipeError | null;
}

const MARKS: readonly { readonly encoding: Encoding; readonly mark: Buffer }[] = [
  { encoding: 'bytes', mark: Buffer.from([0xef, 0xbb, 0xbf]) },
  { encoding: 'utf16le', mark: Buffer.from([0xff, 0xfe]) },
  { encoding: 'utf16be', mark: Buffer.from([0xfe, 0xff]) },
];

/** Decodes what can be decoded without doubt; doubts are the `fault`. Takes memory of about twice the file's size. */
export function readScriptText(bytes: Buffer, name: string): ScriptText {
  const marked = MARKS.find(({ mark }) => bytes.subarray(0, mark.length).equals(mark));
  const encoding = marked?.encoding ?? guessEncoding(bytes);
  const bom = marked?.mark.length ?? 0;
  const body = bytes.subarray(bom);
  const text = {
    bytes,
    encoding,
    bom,
    unit: encoding === 'bytes' ? 1 : 2,
    text: decode(body, encoding),
  } as const;
  return { ...text, fault: faultOf(text, body, name) };
}

function decode(body: Buffer, encoding: Encoding): string {
  if (encoding === 'bytes') return body.toString('latin1');
  const even = body.subarray(0, body.length & ~1);
  return (encoding === 'utf16le' ? even : Buffer.from(even).swap16()).toString('utf16le');
}

/** ASCII text as it is written in this encoding. */
export function encodeAscii(text: string, encoding: Encoding): Buffer {
  if (encoding === 'bytes') return Buffer.from(text, 'latin1');
  const units = Buffer.from(text, 'utf16le');
  return encoding === 'utf16le' ? units : units.swap16();
}

/** How many bytes show whether a text without a mark is UTF-16. */
const SAMPLE = 4096;

/** ASCII characters have a zero byte in UTF-16: behind them in little-endian, before them in big-endian. */
function guessEncoding(bytes: Buffer): Encoding {
  const zeros = [0, 0];
  const sample = bytes.subarray(0, SAMPLE);
  for (const [at, byte] of sample.entries()) if (byte === 0) zeros[at % 2] = (zeros[at % 2] ?? 0) + 1;
  const [even = 0, odd = 0] = zeros;
  if (odd > sample.length / 4 && even === 0) return 'utf16le';
  return even > sample.length / 4 && odd === 0 ? 'utf16be' : 'bytes';
}

const SAVE_AS = 'save it as UTF-8 with a byte order mark (BOM), or as UTF-16 little-endian with one';

/**
 * | code                       | meaning                                                                     |
 * | -------------------------- | --------------------------------------------------------------------------- |
 * | `script-binary`            | it holds NUL characters, or half of a UTF-16 code unit                      |
 * | `script-utf16-without-bom` | UTF-16 without a byte order mark, which script engines do not recognise     |
 * | `script-encoding-unknown`  | no byte order mark, and characters beyond ASCII                             |
 * | `script-not-utf8`          | the byte order mark of UTF-8, and other bytes                               |
 * | `script-bom-repeated`      | a second byte order mark, which some readers skip and others do not         |
 */
function faultOf(
  { encoding, bom, text }: Pick<ScriptText, 'encoding' | 'bom' | 'text'>,
  body: Buffer,
  name: string,
): SignpipeError | null {
  if (encoding !== 'bytes' && body.length % 2 !== 0)
    return invalid('script-binary', `${name}: UTF-16 text of an odd number of bytes`, { hint: SAVE_AS });
  if (text.includes('\0'))
    return invalid('script-binary', `${name}: it holds NUL characters, so it is not the text of a script`, {
      hint: 'a script cannot carry binary data, such as an archive at its end: put that into a file of its own',
    });
  if (encoding !== 'bytes' && bom === 0)
    return invalid('script-utf16-without-bom', `${name}: UTF-16 text without a byte order mark`, {
      hint: SAVE_AS,
    });
  if (encoding === 'bytes' && bom === 0 && !isAscii(body))
    return invalid(
      'script-encoding-unknown',
      `${name}: it has characters beyond ASCII and no byte order mark, so Windows reads it by the code page of each machine`,
      { hint: `${SAVE_AS}; without one its signature would not verify everywhere` },
    );
  if (encoding === 'bytes' && bom > 0 && !isUtf8(body))
    return invalid('script-not-utf8', `${name}: its byte order mark says UTF-8, but it is not`, {
      hint: SAVE_AS,
    });
  if (/^(?:\ufeff|\ufffe|\xef\xbb\xbf|\xff\xfe|\xfe\xff)/.test(text) && bom > 0)
    return invalid('script-bom-repeated', `${name}: it begins with two byte order marks`, { hint: SAVE_AS });
  return null;
}

/** Bytes that are converted at a time. */
const STEP = 64 * 1024;

/** Hashes the bytes of a text without faults as UTF-16LE, and returns how many code units they were. */
export function hashAsUtf16(hash: Hash, bytes: Buffer, encoding: Encoding): number {
  let units = 0;
  for (let start = 0; start < bytes.length;) {
    const end =
      encoding === 'bytes' ? characterEnd(bytes, start + STEP) : Math.min(start + STEP, bytes.length);
    const converted = toUtf16le(bytes.subarray(start, end), encoding);
    hash.update(converted);
    units += converted.length / 2;
    start = end;
  }
  return units;
}

function toUtf16le(bytes: Buffer, encoding: Encoding): Buffer {
  if (encoding === 'utf16le') return bytes;
  if (encoding === 'utf16be') return Buffer.from(bytes).swap16();
  return Buffer.from(bytes.toString('utf8'), 'utf16le');
}

/** The end of the UTF-8 character that reaches over `at`, or the end of the text. */
function characterEnd(bytes: Buffer, at: number): number {
  let end = at;
  while (end < bytes.length && ((bytes[end] ?? 0) & 0xc0) === 0x80) end += 1;
  return Math.min(end, bytes.length);
}
