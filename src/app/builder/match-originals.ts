import { resolve } from 'node:path';
import { usage } from '../../lib/errors.ts';

/** How many segments at the end of two paths are equal. */
function sharedTail(one: readonly string[], other: readonly string[]): number {
  let length = 0;
  while (length < one.length && length < other.length && one.at(-1 - length) === other.at(-1 - length))
    length += 1;
  return length;
}

/** The candidates that share the most segments with a name, at least the last one. */
function nearest(name: string, paths: readonly string[]): string[] {
  const wanted = name.split('/');
  const scored = paths.map((path) => ({ path, score: sharedTail(wanted, path.split(/[\\/]/)) }));
  const best = Math.max(1, ...scored.map(({ score }) => score));
  return scored.filter(({ score }) => score === best).map(({ path }) => path);
}

/**
 * Which original belongs to which signed file: one alone to the only file, whatever it is called; others by name, and
 * by the folders above it where names are alike. Every original has to be used, so that no file seems to be proved
 * that was not compared. Throws usage errors: `original-ambiguous` and `original-unmatched`.
 */
export function matchOriginals(
  names: readonly string[],
  originals: readonly string[],
): ReadonlyMap<string, string> {
  const given = [...new Set(originals.map((path) => resolve(path)))];
  const [name, ...more] = names;
  if (name !== undefined && more.length === 0 && given.length === 1) return new Map([[name, given[0] ?? '']]);
  const pairs = new Map<string, string>();
  for (const each of names) {
    const [first, second] = nearest(each, given);
    if (first !== undefined && second !== undefined)
      throw usage('original-ambiguous', `${each}: both ${first} and ${second} could be its original`, {
        hint: 'give one original for each file, in folders as in the request',
      });
    if (first !== undefined) pairs.set(each, first);
  }
  const used = new Set(pairs.values());
  const unused = given.find((path) => !used.has(path));
  if (unused !== undefined)
    throw usage('original-unmatched', `${unused}: no signed file of this request has this name`, {
      hint: `give an original the name of its file: ${names.join(', ')}`,
    });
  return pairs;
}
