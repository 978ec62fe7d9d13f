import { resolve } from 'node:path';
import { usage } from '../../lib/errors.ts';

/** The number of segments that two paths have in common at their ends. */
function commonTail(one: readonly string[], other: readonly string[]): number {
  let length = 0;
  while (length < one.length && length < other.length && one.at(-1 - length) === other.at(-1 - length))
    length += 1;
  return length;
}

/** The paths that have the most segments in common with a name, at least the last one. */
function nearest(name: string, paths: readonly string[]): string[] {
  const segments = name.split('/');
  const scored = paths.map((path) => ({ path, score: commonTail(segments, path.split(/[\\/]/)) }));
  const best = Math.max(1, ...scored.map(({ score }) => score));
  return scored.filter(({ score }) => score === best).map(({ path }) => path);
}

/**
 * Finds the original of each signed file: a single original belongs to the only file, whatever its name; others are
 * matched by name, and if names are equal, by the folders above. Every original has to match a file, so that no file
 * seems to be proved that was not compared. Throws `original-ambiguous` and `original-unmatched` (usage).
 */
export function matchOriginals(
  names: readonly string[],
  originals: readonly string[],
): ReadonlyMap<string, string> {
  const originalPaths = [...new Set(originals.map((path) => resolve(path)))];
  const [name, ...more] = names;
  if (name !== undefined && more.length === 0 && originalPaths.length === 1)
    return new Map([[name, originalPaths[0] ?? '']]);
  const pairs = new Map<string, string>();
  for (const each of names) {
    const [first, second] = nearest(each, originalPaths);
    if (first !== undefined && second !== undefined)
      throw usage('original-ambiguous', `${each}: both ${first} and ${second} could be its original`, {
        hint: 'give one original for each file, in folders named as in the request',
      });
    if (first !== undefined) pairs.set(each, first);
  }
  const used = new Set(pairs.values());
  const unused = originalPaths.find((path) => !used.has(path));
  if (unused !== undefined)
    throw usage('original-unmatched', `${unused}: no signed file of this request has this name`, {
      hint: `an original must have the name of its file: ${names.join(', ')}`,
    });
  return pairs;
}
