/** Decoded paths in zips: their normal form, whether they are safe, and where they are unpacked. */
import { invalid, type SignpipeError } from '../errors.ts';
import { printable } from '../printable.ts';

/** Longer names are refused: no Windows or POSIX path is as long. In UTF-16 code units. */
const LONGEST_PATH = 4096;

/** C0, DEL and C1 controls, line separators, and bidirectional controls, which reverse the order of characters. */
const DECEPTIVE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/** A path can only be unsafe, or need normalising, if it has one of these. */
const SUSPECT = /[^ -9;-[\]-~]|(?:^|\/)(?:[/.]|con|prn|aux|nul|com|lpt)|[. /](?:\/|$)/i;

/** The names that are devices on Windows, with any extension and in any folder. */
const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9\u00b9\u00b2\u00b3])$/i;

/**
 * The name in an entry's header. Paths here are normalised: a backslash is a slash, as it is on Windows, and
 * segments `.` are left out, so `./x.exe` and `a/.\x.exe` are `x.exe` and `a/x.exe`. A folder's path ends
 * with a slash; the root folder is `./`.
 */
export interface EntryName {
  /** The displayed form, which messages, receipts, pins and patterns use. */
  readonly path: string;
  /** Different forms that other readers decode from the same header; empty for most entries. */
  readonly otherPaths: readonly string[];
}

/** All forms of a name, the displayed one first. */
export const pathsOf = ({ path, otherPaths }: EntryName): readonly string[] =>
  otherPaths.length === 0 ? [path] : [path, ...otherPaths];

/** The error for a name that readers of zips decode differently. */
export const ambiguous = (where: string, why: string, otherwise = ''): SignpipeError =>
  invalid('zip-name-ambiguous', `${where}: ${why}`, {
    hint: `pack the files again with names in UTF-8 (general purpose bit 11), or in plain ASCII${otherwise}`,
  });

/** A name for a message: quoted, shortened, and with nothing hidden. */
export const shown = (path: string): string => `"${printable(path, 200).replaceAll('"', '\\"')}"`;

/** A path with slashes only and without segments `.`; a folder keeps its slash at the end. */
export function normalPath(path: string): string {
  if (!/\\|(?:^|\/)\.(?:\/|$)/.test(path)) return path;
  const slashed = path.replaceAll('\\', '/');
  const segments = slashed.split('/').filter((segment) => segment !== '.');
  const normal = segments.join('/');
  // A path that ends in a segment `.` is a folder; one without other segments is the root.
  if (/^\/?$/.test(normal)) return slashed.startsWith('/') ? slashed : './';
  return slashed.endsWith('/.') ? `${normal}/` : normal;
}

/**
 * Why a path must not be unpacked, or null. Refused are empty and absolute paths, colons (a drive or a stream on
 * Windows), control characters, empty segments, segments `..`, segments that Windows changes (it drops dots and blanks
 * at the end) and the names of its devices. A backslash counts as a slash. Segments `.`, which tar writes, are harmless.
 */
export function whyUnsafe(path: string): string | null {
  if (path === '') return 'has no name';
  if (path.length > LONGEST_PATH) return `has a name of ${path.length} characters`;
  if (!SUSPECT.test(path)) return null;
  if (DECEPTIVE.test(path)) return 'has control characters in its name';
  if (path.includes(':')) return 'has a colon in its name, which Windows takes for a drive or a stream';
  const slashed = path.replaceAll('\\', '/');
  if (slashed.startsWith('/')) return 'has an absolute path';
  const segments = slashed.replace(/\/$/, '').split('/');
  if (segments.includes('')) return 'has an empty segment in its path';
  if (segments.at(-1) === '.' && !slashed.endsWith('/')) return 'has the name of a folder';
  for (const segment of segments) {
    const why = segment === '.' ? null : whySegmentUnsafe(segment);
    if (why) return why;
  }
  return null;
}

function whySegmentUnsafe(segment: string): string | null {
  if (segment === '..') return 'has a segment that climbs out of its folder';
  if (segment.endsWith('.') || segment.endsWith(' '))
    return 'has a segment that ends in a dot or a blank, which Windows drops';
  if (DEVICE.test((segment.split('.', 1)[0] ?? '').trimEnd()))
    return `has the name of a Windows device in its path`;
  return null;
}

/** Printable ASCII without the characters that Windows never allows in names. */
const COMMON = /^[ !#-)+-9;=@-[\]-{}~]*$/;

/** Characters that Windows never allows in names; unpackers replace them. */
const FORBIDDEN = /[<>:"|?*]/g;

/** Characters that HFS+ ignores in names. */
const IGNORED = /\p{Default_Ignorable_Code_Point}/gu;

/**
 * Where a path is unpacked on Windows or macOS: segments `.`, case, Unicode normal form, dots and blanks at the end of a
 * segment, and the slash of a folder make no difference there; characters that Windows does not allow become `_`, and
 * those that macOS ignores are left out.
 */
export function placeOf(path: string): string {
  const segments = normalPath(path)
    .split('/')
    .filter((segment) => segment !== '.' && segment !== '');
  const place = segments.map(withoutTail).join('/');
  if (COMMON.test(place)) return place.toLowerCase();
  const allowed = place.replace(FORBIDDEN, '_').replace(IGNORED, '');
  return allowed.normalize('NFC').toUpperCase().toLowerCase().normalize('NFC');
}

/** A segment without the dots and blanks at its end. */
function withoutTail(segment: string): string {
  let end = segment.length;
  while (end > 0 && (segment[end - 1] === '.' || segment[end - 1] === ' ')) end--;
  return segment.slice(0, end);
}

/** What `requireDistinctPlaces` checks. */
interface UnpackedPath {
  readonly path: string;
  readonly otherPaths?: readonly string[];
  readonly directory: boolean;
}

type Refuse = (code: string, message: string) => SignpipeError;

interface UnpackedPlace {
  readonly entry: UnpackedPath;
  readonly path: string;
  readonly place: string;
}

/**
 * Checks that no two entries are unpacked to the same place, and none to a place under a file, however their names are
 * decoded. The rule holds for every entry, signed or not: an unsigned `setup.EXE` beside a signed `Setup.exe` would be
 * unpacked over it, and an entry under a symbolic link would be unpacked where the link points.
 */
export function requireDistinctPlaces(entries: readonly UnpackedPath[], refuse: Refuse): void {
  const places = new Map<string, UnpackedPlace>();
  for (const entry of entries) {
    addPlace(places, { entry, path: entry.path, place: placeOf(entry.path) }, refuse);
    for (const path of entry.otherPaths ?? [])
      addPlace(places, { entry, path, place: placeOf(path) }, refuse);
  }
  requireFolders(places, refuse);
  requireNoShortNames(places, refuse);
}

const isDisplayed = ({ entry, path }: UnpackedPlace): boolean => entry.path === path;

function addPlace(places: Map<string, UnpackedPlace>, now: UnpackedPlace, refuse: Refuse): void {
  const other = places.get(now.place);
  if (other && other.entry !== now.entry) throw sharedPlace(other, now, refuse);
  // The displayed form of an entry comes first, and decides which error a clash is.
  if (!other) places.set(now.place, now);
}

function sharedPlace(other: UnpackedPlace, now: UnpackedPlace, refuse: Refuse): SignpipeError {
  if (!isDisplayed(other) || !isDisplayed(now))
    return refuse(
      'zip-name-ambiguous',
      `${shown(other.entry.path)} and ${shown(now.entry.path)} are one file to some readers, ${shown(now.path)}`,
    );
  return refuse(
    'zip-entry-duplicate',
    other.path === now.path
      ? `two entries are named ${shown(now.path)}`
      : `${shown(other.path)} and ${shown(now.path)} are one file where case is ignored`,
  );
}

/** Sorts before every character of a path, so that the content of a folder follows the folder immediately. */
const FIRST = '\0';

function requireFolders(places: ReadonlyMap<string, UnpackedPlace>, refuse: Refuse): void {
  const keyed = [...places.values()].map((each) => ({ key: each.place.replaceAll('/', FIRST), each }));
  keyed.sort((a, b) => (a.key < b.key ? -1 : 1));
  for (const [index, { key, each }] of keyed.entries()) {
    const next = keyed[index + 1];
    if (each.entry.directory || !next?.key.startsWith(`${key}${FIRST}`)) continue;
    const why = `entries lie under ${shown(each.path)}, which is not a folder`;
    if (!isDisplayed(each) || !isDisplayed(next.each)) throw refuse('zip-name-ambiguous', why);
    throw refuse('zip-entry-path-unsafe', why);
  }
}

/** A name as Windows generates it for programs without long names: `SETUP-~1.EXE`. */
const SHORT_NAME = /^[^.~]{1,6}~\d{1,6}(?:\.[^.]{1,3})?$/;

/** A name for which Windows generates no short name. */
const NEEDS_NO_SHORT_NAME = /^[^. ]{1,8}(?:\.[^. ]{1,3})?$/;

/**
 * An entry named like the short name of a neighbour could be unpacked over that neighbour. Folders are compared by their
 * last segment only, and short names by what Windows always keeps of the long one: two characters and three of the
 * extension.
 */
function requireNoShortNames(places: ReadonlyMap<string, UnpackedPlace>, refuse: Refuse): void {
  const short = new Map<string, string>();
  for (const { place, path } of places.values())
    if (/~\d/.test(place))
      for (const [folder, segment] of segmentsOf(place))
        if (SHORT_NAME.test(segment)) short.set(shortKey(folder, segment), path);
  if (short.size === 0) return;
  for (const { place, path } of places.values())
    for (const [folder, segment] of segmentsOf(place)) {
      const alias = NEEDS_NO_SHORT_NAME.test(segment) ? undefined : short.get(shortKey(folder, segment));
      if (alias !== undefined)
        throw refuse(
          'zip-name-ambiguous',
          `${shown(alias)} can be the short name of ${shown(path)} on Windows`,
        );
    }
}

/** Each segment of a place, with the folder before it. */
function segmentsOf(place: string): [folder: string, segment: string][] {
  const segments = place.split('/');
  return segments.map((segment, index) => [segments[index - 1] ?? '', segment]);
}

function shortKey(folder: string, segment: string): string {
  const dot = segment.lastIndexOf('.');
  const base = (dot > 0 ? segment.slice(0, dot) : segment).split('~', 1)[0] ?? '';
  const stem = base.replace(/[. ]/g, '').replace(/[+,;=[\]]/g, '_');
  const extension = dot > 0 ? segment.slice(dot + 1, dot + 4) : '';
  return `${folder}/${stem.slice(0, 2)}.${extension}`;
}
