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

/** C0, DEL and C1 controls, line separators, and the controls that make a name read backwards. */
const DECEPTIVE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

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
 * 437, as APPNOTE appendix D has it. Refuses names that are not safe to unpack.
 */
export function entryPath(flags: number, name: Buffer, extra: Buffer, where: string): string {
  const fields = parseExtraFields(extra);
  if (name.some((byte) => byte < 0x20 || byte === 0x7f))
    throw unsafe(where, 'has control characters in its name');
  for (const bytes of [
    flags & FLAG.utf8 ? name : null,
    ...fields.filter((f) => f.id === UNICODE_PATH_FIELD).map((f) => f.data.subarray(5)),
  ])
    if (bytes && !isUtf8(bytes)) throw unsafe(where, 'has a name that is not valid UTF-8');
  const path = getFileNameLowLevel(flags, name, fields, true);
  // Readers that know no Unicode Path field see the plain name: both must be safe.
  for (const seen of new Set([path, getFileNameLowLevel(flags, name, [], true)])) {
    const why = whyUnsafe(seen);
    if (why) throw unsafe(`${where} (${shown(seen)})`, why);
  }
  return path;
}

function isUtf8(bytes: Buffer): boolean {
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false;
  }
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
