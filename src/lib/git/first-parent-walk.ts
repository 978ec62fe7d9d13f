/** Only for speed: short ways between commits are read here, without a new git process, which takes some ms to start. */
import { isInvalid } from '../errors.ts';
import type { Commit, TreeEntry } from './objects.ts';

/** A commit and its parents. */
export interface CommitRef {
  id: string;
  parents: readonly string[];
}

/** Reads commits, as `CommitGraph` does. */
interface CommitReader {
  readCommit(id: string): Promise<Commit>;
  entryAt(commit: Commit, path: string): Promise<TreeEntry | null>;
}

/** At most this many commits are read one by one. For more, a new git process is faster. */
const WALK_LIMIT = 64;

/** If a commit or tree cannot be parsed here, fall back to git. */
async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

/**
 * The commits from `tip` back to `base` by first parents, newest first, with `tip` and without `base`; null if this
 * way does not lead there, or is long. As commits come after their parents, none of these is in the history of
 * `base`: they are what `git rev-list --first-parent tip ^base` lists.
 */
export async function firstParentsBetween(
  reader: CommitReader,
  tip: string,
  base: string,
): Promise<CommitRef[] | null> {
  const commits: CommitRef[] = [];
  for (let id: string | undefined = tip; id !== base;) {
    if (id === undefined || commits.length === WALK_LIMIT) return null;
    const commit: Commit | null = await orNull(reader.readCommit(id));
    if (commit === null) return null;
    commits.push({ id, parents: commit.parents });
    id = commit.parents[0];
  }
  return commits;
}

/** The newest `count` commits of the first-parent history of `tip`, newest first; null if they are many, or cannot be read here. */
export async function firstParentsUpTo(
  reader: CommitReader,
  tip: string,
  count: number,
): Promise<CommitRef[] | null> {
  if (count > WALK_LIMIT) return null;
  const commits: CommitRef[] = [];
  for (let id: string | undefined = tip; id !== undefined && commits.length < count;) {
    const commit: Commit | null = await orNull(reader.readCommit(id));
    if (commit === null) return null;
    commits.push({ id, parents: commit.parents });
    id = commit.parents[0];
  }
  return commits;
}

/** All commits that `tip` has and `base` does not, newest first; null if one of them is a merge, or the way is long. */
export async function linearHistory(
  reader: CommitReader,
  tip: string,
  base: string,
): Promise<CommitRef[] | null> {
  const commits = await firstParentsBetween(reader, tip, base);
  return commits?.every(({ parents }) => parents.length === 1) ? commits : null;
}

async function firstParent(reader: CommitReader, id: string | undefined): Promise<string | undefined> {
  return id === undefined ? undefined : (await orNull(reader.readCommit(id)))?.parents[0];
}

/**
 * Whether one commit is in the history of another, if a short way of first parents leads from either to the other: a
 * descendant cannot be an ancestor. Null if there is no such way.
 */
export async function isNearAncestor(
  reader: CommitReader,
  ancestor: string,
  descendant: string,
): Promise<boolean | null> {
  let [fromDescendant, fromAncestor]: [string | undefined, string | undefined] = [descendant, ancestor];
  for (let step = 0; step <= WALK_LIMIT; step += 1) {
    if (fromDescendant === ancestor) return true;
    if (fromAncestor === descendant) return false;
    [fromDescendant, fromAncestor] = await Promise.all([
      firstParent(reader, fromDescendant),
      firstParent(reader, fromAncestor),
    ]);
  }
  return null;
}

const entryKey = async (reader: CommitReader, id: string, path: string): Promise<string> => {
  const entry = await reader.entryAt(await reader.readCommit(id), path);
  return entry === null ? '' : `${entry.mode} ${entry.id}`;
};

/** Those commits of a linear history that changed the entry at `path`; null if one of them cannot be read. */
export async function commitsChanging(
  reader: CommitReader,
  commits: readonly CommitRef[],
  path: string,
): Promise<string[] | null> {
  const changing: string[] = [];
  for (const { id, parents } of commits)
    for (const parent of parents) {
      const keys = await orNull(Promise.all([id, parent].map((each) => entryKey(reader, each, path))));
      if (keys === null) return null;
      if (keys[0] !== keys[1]) changing.push(id);
    }
  return changing;
}
