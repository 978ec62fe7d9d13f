/*
 * How MSI writes the names of streams and tables: characters of an alphabet of 64 are packed, two into one UTF-16 code unit
 * from U+3800 on, a single one from U+4800 on; U+4840 before them marks a table. Not documented by Microsoft; msitools and
 * Wine agree.
 */

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._';
const PAIRS = 0x3800;
const SINGLES = 0x4800;
const TABLE = 0x4840;

/** Whether a stream of this stored name is a table. */
export const isTableName = (name: string): boolean => name.charCodeAt(0) === TABLE;

/** The readable name of a stream; a table's begins with `!`. Names that are not packed stay as they are. */
export function decodeStreamName(name: string): string {
  let decoded = '';
  for (let at = 0; at < name.length; at += 1) {
    const unit = name.charCodeAt(at);
    if (unit === TABLE && at === 0) decoded += '!';
    else if (unit >= PAIRS && unit < SINGLES)
      decoded += character(unit - PAIRS) + character((unit - PAIRS) >> 6);
    else if (unit >= SINGLES && unit < TABLE) decoded += character(unit - SINGLES);
    else decoded += name[at] ?? '';
  }
  return decoded;
}

const character = (value: number): string => ALPHABET[value & 0x3f] ?? '';

/** The name under which MSI stores a stream, or with `table` the table of that name. */
export function encodeStreamName(name: string, { table = false } = {}): string {
  let encoded = table ? String.fromCharCode(TABLE) : '';
  for (let at = 0; at < name.length; at += 1) {
    const first = ALPHABET.indexOf(name[at] ?? '');
    const second = at + 1 < name.length ? ALPHABET.indexOf(name[at + 1] ?? '') : -1;
    if (first < 0) encoded += name[at] ?? '';
    else if (second < 0) encoded += String.fromCharCode(SINGLES + first);
    else {
      encoded += String.fromCharCode(PAIRS + first + (second << 6));
      at += 1;
    }
  }
  return encoded;
}
