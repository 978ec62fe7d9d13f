import { createRequire } from 'node:module';
import type picomatch from 'picomatch';
import { ambiguous, normalPath, shown, type EntryName } from '../../lib/zip/entry-paths.ts';

/** Whether a path inside a zip (or a lone file's name) is meant. */
export type PathFilter = (path: string) => boolean;

const OPTIONS: picomatch.PicomatchOptions = { nocase: true, dot: true, strictSlashes: true };

const load = createRequire(import.meta.url);

/** Whether any pattern matches. Compiled when first asked: a lone program is signed without a question. */
function matcher(patterns: string[]): PathFilter {
  let compiled: PathFilter | undefined;
  return (path) => (compiled ??= (load('picomatch') as typeof picomatch)(patterns, OPTIONS))(path);
}

/**
 * Compiles patterns over names that are no paths, such as people's: a name is meant when some pattern matches
 * and no pattern with a leading `!` does, whatever their order. Case does not count.
 */
export function compileNamePatterns(patterns: readonly string[]): PathFilter {
  const wanted = patterns.filter((each) => !each.startsWith('!'));
  const unwanted = patterns.filter((each) => each.startsWith('!')).map((each) => each.slice(1));
  const matches = wanted.length > 0 ? matcher(wanted) : () => true;
  const excludes = unwanted.length > 0 ? matcher(unwanted) : () => false;
  return (path) => matches(path) && !excludes(path);
}

/**
 * Compiles `signing.files` and the like: a path is meant when some pattern matches it and no pattern with a
 * leading `!` does, whatever their order. Asked of the normalised path (a backslash is a slash, segments `.`
 * do not count) in Unicode form NFC, for macOS takes names apart; case does not count, as on Windows.
 */
export function compilePatterns(patterns: readonly string[]): PathFilter {
  const isMeant = compileNamePatterns(patterns.map((pattern) => pattern.normalize('NFC')));
  return (path) => isMeant(normalPath(path).normalize('NFC'));
}

/**
 * Whether an entry of a zip is ours: all that its name can be read as must be meant, or none of it. `zip` is
 * the zip's name for messages. Throws `zip-name-ambiguous`.
 */
export function isOurs(entry: EntryName, isMeant: PathFilter, zip: string): boolean {
  const ours = isMeant(entry.path);
  const other = entry.otherPaths.find((path) => isMeant(path) !== ours);
  if (other === undefined) return ours;
  const [meant, not] = ours ? [entry.path, other] : [other, entry.path];
  throw ambiguous(
    `${zip}: entry ${shown(entry.path)}`,
    `the patterns match it where it is read as ${shown(meant)}, but not as ${shown(not)}`,
    '; or have patterns that match both, such as **/*.exe',
  );
}

/** The pattern that leaves out exactly one path. */
export const excluding = (path: string): string => `!${path.replace(/[\\*?[\]{}()!+@|$^]/g, '\\$&')}`;
