import type { PathFilter } from '../globs.ts';

/** Where a file lies in an artifact. */
export interface Place {
  /** Its path in the innermost container, or in the artifact itself. Empty for the artifact, if that is a program. */
  readonly path: string;
  /** The containers in the artifact that were opened to reach it, outermost first; left out if there are none. */
  readonly inside?: readonly string[] | undefined;
}

/** A place for people, and for patterns: `setup.zip!/bin/app.msi!/x.exe`. */
export const shownPlace = ({ path, inside = [] }: Place): string => [...inside, path].join('!/');

/** A place as one text that no other place has. */
export const placeKey = ({ path, inside = [] }: Place): string =>
  inside.length === 0 ? path : JSON.stringify([...inside, path]);

/** A place with `inside` only if it is not empty. */
export const placeIn = (inside: readonly string[], path: string): Place =>
  inside.length === 0 ? { path } : { path, inside };

/** The places of what is inside of a file at a place. */
export const within = ({ path, inside = [] }: Place): readonly string[] =>
  path === '' ? inside : [...inside, path];

/** Items by where they lie in an artifact, which is the root itself. */
export interface PlaceTree<T> {
  /** What belongs to this file; undefined if only something inside of it has any. */
  value?: T;
  /** By path; empty if nothing inside has any. */
  readonly members: Map<string, PlaceTree<T>>;
}

/** Puts items at their places; `keyOf` is the form of paths by which they are found. */
export function placeTree<T extends Place>(
  items: readonly T[],
  keyOf: (path: string) => string = (path) => path,
): PlaceTree<T> {
  const root: PlaceTree<T> = { members: new Map() };
  for (const item of items) {
    let at = root;
    for (const key of within(item).map(keyOf)) {
      const next = at.members.get(key) ?? { members: new Map() };
      at.members.set(key, next);
      at = next;
    }
    at.value = item;
  }
  return root;
}

/**
 * Whether patterns mean a file inside of containers: they are matched against its path in its container and against the
 * path with all containers. One that excludes either is decisive.
 */
export function isMeantAt(isMeant: PathFilter, place: Place): boolean {
  if (isExcludedAt(isMeant, place)) return false;
  return isMeant(place.path) || ((place.inside?.length ?? 0) > 0 && isMeant(shownPlace(place)));
}

/** Whether a pattern with a leading `!` names a file. */
export const isExcludedAt = ({ excludes }: PathFilter, place: Place): boolean =>
  excludes !== undefined && (excludes(place.path) || excludes(shownPlace(place)));
