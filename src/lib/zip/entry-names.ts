import { isAscii, isUtf8 } from 'node:buffer';
import { crc32 } from 'node:zlib';
import { getFileNameLowLevel } from 'yauzl';
import { invalid, type SignpipeError } from '../errors.ts';
import { ambiguous, normalPath, shown, whyUnsafe, type EntryName } from './entry-paths.ts';
import { extraFields, FLAG } from './header-fields.ts';

/** Info-ZIP's Unicode Path field: a UTF-8 name beside a name in an old code page (APPNOTE 4.6.9). */
const UNICODE_PATH_FIELD = 0x7075;
/** Version (1 byte) and CRC-32 of the header's name (4 bytes); the UTF-8 name follows them. */
const UNICODE_PATH_HEAD = 5;

/** C0 and DEL, the same in every code page. */
const CONTROLS = /[^ -~\x80-\xff]/;

const unsafe = (where: string, why: string): SignpipeError =>
  invalid('zip-entry-path-unsafe', `${where}: ${why}`, {
    hint: 'pack the files again under plain relative names',
  });

/**
 * Decodes the name in a header. The displayed form is the Unicode Path field if its CRC-32 is that of the header's name;
 * otherwise the name as UTF-8, if it is flagged so or is valid UTF-8; otherwise as code page 437 (APPNOTE appendix D).
 * The other forms are those of other readers: code page 437 or UTF-8 without the flag, and every Unicode Path field,
 * since few readers check its CRC-32 and its version. All must be safe to unpack, and all files or all folders.
 * `where` is called for messages only.
 */
export function entryName(flags: number, name: Buffer, extra: Buffer, where: () => string): EntryName {
  const plain = name.toString('latin1');
  if (CONTROLS.test(plain)) throw unsafe(where(), 'has control characters in its name');
  const fields = unicodePaths(name, extra, where);
  if (fields.length === 0 && isAscii(name)) return { path: safePath(plain, where), otherPaths: NONE };
  const [displayed = '', ...others] = readings(flags, name, fields, where);
  const path = safePath(displayed, where);
  const otherPaths = new Set(others.map((other) => otherPath(path, other, where)));
  otherPaths.delete(path);
  return { path, otherPaths: otherPaths.size === 0 ? NONE : [...otherPaths] };
}

const NONE: readonly string[] = [];

/** Whether a header has a Unicode Path field. */
export function hasUnicodePath(extra: Buffer, where: () => string): boolean {
  for (const { id } of extraFields(extra, where)) if (id === UNICODE_PATH_FIELD) return true;
  return false;
}

/** The UTF-8 bytes of a Unicode Path field, and whether a reader that checks it would use it. */
interface UnicodePath {
  readonly bytes: Buffer;
  readonly fits: boolean;
}

function unicodePaths(name: Buffer, extra: Buffer, where: () => string): readonly UnicodePath[] {
  if (extra.length === 0) return [];
  const paths: UnicodePath[] = [];
  for (const { id, data } of extraFields(extra, where)) {
    if (id !== UNICODE_PATH_FIELD) continue;
    if (data.length < UNICODE_PATH_HEAD) throw unsafe(where(), 'has a damaged Unicode Path field');
    // If the field is empty, the header's own name is UTF-8, as Info-ZIP reads it.
    const bytes = data.length === UNICODE_PATH_HEAD ? name : data.subarray(UNICODE_PATH_HEAD);
    if (!isUtf8(bytes)) throw unsafe(where(), 'has a name that is not valid UTF-8');
    paths.push({ bytes, fits: data[0] === 1 && data.readUInt32LE(1) === crc32(name) });
  }
  return paths;
}

/** All decodings of a name, the displayed one first. */
function readings(
  flags: number,
  name: Buffer,
  fields: readonly UnicodePath[],
  where: () => string,
): string[] {
  const flagged = (flags & FLAG.utf8) !== 0;
  if (flagged && !isUtf8(name)) throw unsafe(where(), 'has a name that is not valid UTF-8');
  const own = [
    ...(isUtf8(name) ? [name.toString('utf8')] : []),
    ...(flagged ? [] : [getFileNameLowLevel(0, name, [], true)]),
  ];
  const fitting = new Set(fields.filter(({ fits }) => fits).map(({ bytes }) => bytes.toString('utf8')));
  if (fitting.size > 1) throw ambiguous(where(), 'has two Unicode names');
  return [...fitting, ...own, ...fields.map(({ bytes }) => bytes.toString('utf8'))];
}

function safePath(path: string, where: () => string): string {
  const why = whyUnsafe(path);
  if (why) throw unsafe(`${where()} (${shown(path)})`, why);
  return normalPath(path);
}

function otherPath(path: string, other: string, where: () => string): string {
  const why = whyUnsafe(other);
  if (why) throw ambiguous(`${where()} (${shown(path)})`, `read as ${shown(other)}, it ${why}`);
  const normal = normalPath(other);
  if (normal.endsWith('/') !== path.endsWith('/'))
    throw ambiguous(`${where()} (${shown(path)})`, `some readers take it for ${shown(normal)}`);
  return normal;
}
