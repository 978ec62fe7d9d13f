import picomatch from 'picomatch';

/** Whether a path inside a zip (or a lone file's name) is meant. */
export type PathFilter = (path: string) => boolean;

const OPTIONS: picomatch.PicomatchOptions = { nocase: true, dot: true, strictSlashes: true };

/**
 * Compiles `signing.files` and the like: a path is meant when some pattern matches and no pattern
 * with a leading `!` does, whatever their order. Case does not count, as on Windows.
 */
export function compilePatterns(patterns: readonly string[]): PathFilter {
  const wanted = patterns.filter((each) => !each.startsWith('!'));
  const unwanted = patterns.filter((each) => each.startsWith('!')).map((each) => each.slice(1));
  const matches = wanted.length > 0 ? picomatch(wanted, OPTIONS) : () => true;
  const excludes = unwanted.length > 0 ? picomatch(unwanted, OPTIONS) : () => false;
  return (path) => matches(path) && !excludes(path);
}
