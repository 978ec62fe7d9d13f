import { createRequire } from 'node:module';
import type picomatch from 'picomatch';

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
 * Compiles `signing.files` and the like: a path is meant when some pattern matches and no pattern
 * with a leading `!` does, whatever their order. Case does not count, as on Windows.
 */
export function compilePatterns(patterns: readonly string[]): PathFilter {
  const wanted = patterns.filter((each) => !each.startsWith('!'));
  const unwanted = patterns.filter((each) => each.startsWith('!')).map((each) => each.slice(1));
  const matches = wanted.length > 0 ? matcher(wanted) : () => true;
  const excludes = unwanted.length > 0 ? matcher(unwanted) : () => false;
  return (path) => matches(path) && !excludes(path);
}
