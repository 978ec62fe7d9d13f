import { createRequire } from 'node:module';
import type picomatch from 'picomatch';
import { ambiguous, normalPath, shown, type EntryName } from '../../lib/zip/entry-paths.ts';

/** Whether the patterns match a path in a zip, or the name of a file. */
export interface PathFilter {
  (path: string): boolean;
  /** Whether a pattern with a leading `!` matches; left out if there are none. */
  readonly excludes?: ((path: string) => boolean) | undefined;
}

const OPTIONS: picomatch.PicomatchOptions = { nocase: true, dot: true, strictSlashes: true };

const load = createRequire(import.meta.url);

/** Whether any pattern matches. Compiled on first use: a program that is not in a zip may be signed without. */
function matcher(patterns: string[]): PathFilter {
  let compiled: PathFilter | undefined;
  return (path) => (compiled ??= (load('picomatch') as typeof picomatch)(patterns, OPTIONS))(path);
}

/**
 * Compiles patterns for names other than paths, such as people's: a name matches if some pattern matches and no pattern
 * with a leading `!` does, in any order. Case is ignored.
 */
export function compileNamePatterns(patterns: readonly string[]): PathFilter {
  const includePatterns = patterns.filter((each) => !each.startsWith('!'));
  const excludePatterns = patterns.filter((each) => each.startsWith('!')).map((each) => each.slice(1));
  const matches = includePatterns.length > 0 ? matcher(includePatterns) : () => true;
  if (excludePatterns.length === 0) return matches;
  const excludes = matcher(excludePatterns);
  return Object.assign((path: string) => matches(path) && !excludes(path), { excludes });
}

const normal = (path: string): string => normalPath(path).normalize('NFC');

/**
 * Compiles patterns such as `signing.files`: a path matches if some pattern matches it and no pattern with a leading `!`
 * does, in any order. The path is normalised first (a backslash is a slash, segments `.` are dropped) and in Unicode form
 * NFC, since macOS decomposes names; case is ignored, as on Windows.
 */
export function compilePatterns(patterns: readonly string[]): PathFilter {
  const isMeant = compileNamePatterns(patterns.map((pattern) => pattern.normalize('NFC')));
  const { excludes } = isMeant;
  return Object.assign((path: string) => isMeant(normal(path)), {
    excludes: excludes && ((path: string) => excludes(normal(path))),
  });
}

/**
 * Whether an entry of a zip is ours: the patterns must match all forms of its name, or none. `zip` is the zip's name for
 * messages. Throws `zip-name-ambiguous`.
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

/** The pattern that excludes exactly one path. */
export const excluding = (path: string): string => `!${path.replace(/[\\*?[\]{}()!+@|$^]/g, '\\$&')}`;
