import { isAscii, isUtf8 } from 'node:buffer';
import { getFileNameLowLevel, parseExtraFields } from 'yauzl';
import { invalid, type SignpipeError } from '../errors.ts';
import { printable } from '../printable.ts';
import { FLAG } from './records.ts';

/** Longer names are refused: no Windows or POSIX path is. In UTF-16 code units. */
const LONGEST_PATH = 4096;

/** Info-ZIP's Unicode Path field: a UTF-8 name beside a name in an old code page (APPNOTE 4.6.9). */
const UNICODE_PATH_FIELD = 0x7075;

/** Whether a header carries a Unicode Path field. */
export const hasUnicodePath = (extra: Buffer): boolean =>
  parseExtraFields(extra).some(({ id }) => id === UNICODE_PATH_FIELD);

/** C0 and DEL, in whatever code page. */
const CONTROLS = /[^ -~\x80-\xff]/;

/** C0, DEL and C1 controls, line separators, and the controls that make a name read backwards. */
const DECEPTIVE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

const unsafe = (where: string, why: string): SignpipeError =>
  invalid('zip-entry-path-unsafe', `${where}: ${why}`, {
    hint: 'pack the files again under plain relative names',
  });

/** A name as it can be shown in a message: quoted, with nothing hidden, not endless. */
export const shown = (path: string): string => `"${printable(path, 200).replaceAll('"', '\\"')}"`;

/**
 * Why a path must not be unpacked, or null. Refused: nothing, absolute paths, drive letters,
 * backslashes (a separator on Windows alone), control characters, empty segments, and segments that
 * Windows takes for `..` (it drops trailing dots and spaces). A leading `./`, as tar makes it, is let be.
 */
export function whyUnsafe(path: string): string | null {
  if (path === '') return 'has no name';
  if (path.length > LONGEST_PATH) return `has a name of ${path.length} characters`;
  if (DECEPTIVE.test(path)) return 'has control characters in its name';
  if (path.includes('\\')) return 'has a backslash in its name';
  if (path.startsWith('/')) return 'has an absolute path';
  if (/^[A-Za-z]:/.test(path)) return 'has a drive letter in its name';
  const segments = path.replace(/\/$/, '').split('/');
  if (segments.includes('')) return 'has an empty segment in its path';
  if (segments.some((segment) => segment !== '.' && /^[. ]+$/.test(segment)))
    return 'has a segment that climbs out of its folder';
  return null;
}

/**
 * Decodes an entry's name: UTF-8 when the flag or a valid Unicode Path field says so, else code page
 * 437, as APPNOTE appendix D has it. Refuses names that are not safe to unpack; `where` is asked then.
 */
export function entryPath(flags: number, name: Buffer, extra: Buffer, where: () => string): string {
  const plain = name.toString('latin1');
  if (CONTROLS.test(plain)) throw unsafe(where(), 'has control characters in its name');
  const fields = parseExtraFields(extra);
  const unicode = fields.filter(({ id }) => id === UNICODE_PATH_FIELD).map(({ data }) => data.subarray(5));
  if (![...(flags & FLAG.utf8 ? [name] : []), ...unicode].every((bytes) => isUtf8(bytes)))
    throw unsafe(where(), 'has a name that is not valid UTF-8');
  // Of ASCII, every code page makes the same; readers that know no Unicode Path field see the plain name.
  const seen = isAscii(name) ? plain : getFileNameLowLevel(flags, name, [], true);
  requireSafe(seen, where);
  if (unicode.length === 0) return seen;
  const path = getFileNameLowLevel(flags, name, fields, true);
  requireSafe(path, where);
  return path;
}

function requireSafe(path: string, where: () => string): void {
  const why = whyUnsafe(path);
  if (why) throw unsafe(`${where()} (${shown(path)})`, why);
}

/**
 * The place that a path names when it is unpacked on Windows or macOS: `.` segments, case, Unicode
 * normal form, trailing dots and spaces, and the directory's slash make no difference there.
 */
export function placeOf(path: string): string {
  const segments = path.split('/').filter((segment) => segment !== '.' && segment !== '');
  const folded = segments.map((segment) => segment.replace(/[. ]+$/, '')).join('/');
  return folded.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}

/** Anything with a path, as far as `requireDistinctPlaces` cares. */
export interface Placed {
  readonly path: string;
  readonly directory: boolean;
}

/**
 * Two entries must not land in one place, and no entry under a file. One rule for every entry, signed
 * or not: an unsigned `setup.EXE` beside a signed `Setup.exe` would be unpacked over it, and an entry
 * under a symbolic link would be unpacked wherever that points.
 */
export function requireDistinctPlaces(
  entries: readonly Placed[],
  refuse: (code: string, message: string) => SignpipeError,
): void {
  const taken = new Map<string, Placed>();
  const folders = new Set<string>();
  for (const entry of entries) {
    const place = placeOf(entry.path);
    const other = taken.get(place);
    if (other)
      throw refuse(
        'zip-entry-duplicate',
        other.path === entry.path
          ? `two entries are named ${shown(entry.path)}`
          : `${shown(other.path)} and ${shown(entry.path)} are one file where case is ignored`,
      );
    taken.set(place, entry);
    for (let at = place.lastIndexOf('/'); at > 0; at = place.lastIndexOf('/', at - 1)) {
      const folder = place.slice(0, at);
      if (folders.has(folder)) break;
      folders.add(folder);
    }
  }
  for (const [place, entry] of taken)
    if (!entry.directory && folders.has(place))
      throw refuse('zip-entry-path-unsafe', `entries lie under ${shown(entry.path)}, which is not a folder`);
}
