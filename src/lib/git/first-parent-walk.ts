import { isInvalid } from '../errors.ts';
import type { Commit, TreeEntry } from './objects.ts';

/** A commit, with its parents. */
export interface CommitRef {
  id: string;
  parents: readonly string[];
}

/** Who reads commits: a `CommitGraph`. */
export interface CommitReader {
  readCommit(id: string): Promise<Commit>;
  entryAt(commit: Commit, path: string): Promise<TreeEntry | null>;
}

/** So many commits are walked here, one by one. For a longer way a git process, which reads them faster, is worth its start. */
const FAR = 64;

/** What cannot be read here is git's to judge. */
async function orNull<T>(reading: Promise<T>): Promise<T | null> {
  try {
    return await reading;
  } catch (error) {
    if (isInvalid(error)) return null;
    throw error;
  }
}

/**
 * The commits from `tip` back to `base` by first parents, newest first, `tip` among them and `base` not; null when
 * that way does not lead there, or is a long one. As commits come after their parents, none of these is in the
 * history of `base`: they are what `git rev-list --first-parent tip ^base` says.
 */
export async function firstParentsBetween(
  reader: CommitReader,
  tip: string,
  base: string,
): Promise<CommitRef[] | null> {
  const line: CommitRef[] = [];
  for (let id: string | undefined = tip; id !== base;) {
    if (id === undefined || line.length === FAR) return null;
    const commit: Commit | null = await orNull(reader.readCommit(id));
    if (commit === null) return null;
    line.push({ id, parents: commit.parents });
    id = commit.parents[0];
  }
  return line;
}

/** The same where no commit between is a merge: then they are all that `tip` has and `base` has not. */
export async function linearHistory(
  reader: CommitReader,
  tip: string,
  base: string,
): Promise<CommitRef[] | null> {
  const line = await firstParentsBetween(reader, tip, base);
  return line?.every(({ parents }) => parents.length === 1) ? line : null;
}

async function firstParent(reader: CommitReader, id: string | undefined): Promise<string | undefined> {
  return id === undefined ? undefined : (await orNull(reader.readCommit(id)))?.parents[0];
}

/**
 * Whether one commit is in the history of another, where a short way of first parents leads from either to the
 * other: what comes after a commit is not before it. Null where there is no such way.
 */
export async function isNearAncestor(
  reader: CommitReader,
  ancestor: string,
  descendant: string,
): Promise<boolean | null> {
  let [down, up]: [string | undefined, string | undefined] = [descendant, ancestor];
  for (let step = 0; step <= FAR; step += 1) {
    if (down === ancestor) return true;
    if (up === descendant) return false;
    [down, up] = await Promise.all([firstParent(reader, down), firstParent(reader, up)]);
  }
  return null;
}

const entryKey = async (reader: CommitReader, id: string, path: string): Promise<string> => {
  const entry = await reader.entryAt(await reader.readCommit(id), path);
  return entry === null ? '' : `${entry.mode} ${entry.id}`;
};

/** Those commits of a straight line that changed what lies at `path`; null where that cannot be read. */
export async function commitsChanging(
  reader: CommitReader,
  line: readonly CommitRef[],
  path: string,
): Promise<string[] | null> {
  const touched: string[] = [];
  for (const { id, parents } of line)
    for (const parent of parents) {
      const keys = await orNull(Promise.all([id, parent].map((each) => entryKey(reader, each, path))));
      if (keys === null) return null;
      if (keys[0] !== keys[1]) touched.push(id);
    }
  return touched;
}
