import { invalid } from '../errors.ts';
import type { CatFile } from './cat-file.ts';
import { GitFailure, type Git } from './git.ts';
import {
  isNearAncestor,
  firstParentsBetween,
  linearHistory,
  commitsChanging,
  type CommitRef,
} from './first-parent-walk.ts';
import { parseCommit, parseTree, shortId, type Commit, type ObjectType, type TreeEntry } from './objects.ts';
import { printable } from '../printable.ts';

/** Largest objects that are read, in bytes. */
export const COMMIT_LIMIT = 1024 * 1024;
const TREE_LIMIT = 16 * 1024 * 1024;
/** Answers about what touched a path that are remembered. */
const TOUCHED_LIMIT = 8;

const idsOf = (steps: readonly CommitRef[]): string[] => steps.map(({ id }) => id);

const LF = 10;
const ID_LENGTH = 40;

/**
 * The lines of `git rev-list`: ids with a blank between them. Each becomes a text of its own: what is cut out of a
 * text keeps all of it in memory, for as long as a single id is kept.
 */
function* stepsIn(said: Buffer): Generator<CommitRef> {
  for (let at = 0; at < said.length;) {
    const lineEnd = said.indexOf(LF, at);
    const end = lineEnd < 0 ? said.length : lineEnd;
    const ids: string[] = [];
    for (; at < end; at += ID_LENGTH + 1) ids.push(said.toString('latin1', at, at + ID_LENGTH));
    const [id = '', ...parents] = ids;
    yield { id, parents };
    at = end + 1;
  }
}

/** What is in a Git repository on this machine: its objects, and how its commits follow one another. */
export class CommitGraph {
  /** Which commits, up to which tip, touched a path: histories grow, and are not gone through again for each commit. */
  readonly touched = new Map<string, { tip: string; ids: readonly string[] }>();

  constructor(
    protected readonly git: Git,
    protected readonly objects: CatFile,
  ) {}

  /** The commits that `tip` has and none of `exclude` has, oldest first, parents before children. Ids in `exclude` that are not here are passed over. */
  async commitsBetween(tip: string, exclude: readonly string[] = []): Promise<string[]> {
    const line = await this.since(linearHistory, tip, exclude);
    return idsOf(line?.reverse() ?? (await this.revList(tip, exclude, ['--topo-order', '--reverse'])));
  }

  /** The same commits with their parents. */
  async commitRefsBetween(tip: string, exclude: readonly string[] = []): Promise<CommitRef[]> {
    const line = await this.since(linearHistory, tip, exclude);
    return line?.reverse() ?? this.revList(tip, exclude, ['--topo-order', '--reverse', '--parents']);
  }

  /** The first-parent line of `tip`, newest first, each with its parents. */
  async firstParents(tip: string, exclude: readonly string[] = []): Promise<CommitRef[]> {
    const line = await this.since(firstParentsBetween, tip, exclude);
    return line ?? this.revList(tip, exclude, ['--first-parent', '--topo-order', '--parents']);
  }

  /** The newest commits of the first-parent line of `tip`, at most `count`, newest first, each with its parents. */
  async newestFirstParents(tip: string, count: number): Promise<CommitRef[]> {
    return this.revList(tip, [], ['--first-parent', '--topo-order', '--parents', `--max-count=${count}`]);
  }

  /** The commits without parents in the history of `tip`. */
  async rootsOf(tip: string): Promise<string[]> {
    return idsOf(await this.revList(tip, [], ['--max-parents=0']));
  }

  /** The commit at which the first-parent line of `tip` begins. */
  async firstParentRoot(tip: string): Promise<string | null> {
    return idsOf(await this.revList(tip, [], ['--first-parent', '--max-parents=0']))[0] ?? null;
  }

  /** The whole first-parent line, oldest first, without the parents, which would take most of the memory. */
  async firstParentIds(tip: string): Promise<string[]> {
    return idsOf(await this.revList(tip, [], ['--first-parent', '--topo-order', '--reverse']));
  }

  /** A short way from one commit to another, walked without a process of git; null where there is none. */
  private async since(
    walk: typeof firstParentsBetween,
    tip: string,
    [base, ...more]: readonly string[],
  ): Promise<CommitRef[] | null> {
    await this.requireCommit(tip);
    return base === undefined || more.length > 0 ? null : walk(this, tip, base);
  }

  /** Those commits that changed `path` against every parent, newest first (parents after children). */
  async commitsTouching(tip: string, path: string, exclude: readonly string[] = []): Promise<string[]> {
    const key = [path, ...exclude].join(' ');
    const ids = (await this.touchedSince(tip, path, key)) ?? (await this.allTouching(tip, path, exclude));
    if (this.touched.size >= TOUCHED_LIMIT) this.touched.clear();
    this.touched.set(key, { tip, ids });
    return [...ids];
  }

  private async allTouching(tip: string, path: string, exclude: readonly string[]): Promise<string[]> {
    return idsOf(await this.revList(tip, exclude, ['--topo-order', '--full-history'], ['--', path]));
  }

  /** What was found for an earlier tip still holds where only plain commits followed it; merges are git's to judge. */
  private async touchedSince(tip: string, path: string, key: string): Promise<readonly string[] | null> {
    const known = this.touched.get(key);
    const line = known && (await this.since(linearHistory, tip, [known.tip]));
    const newer = line && (await commitsChanging(this, line, path));
    return newer ? [...newer, ...known.ids] : null;
  }

  /** Parents are told only with `--parents` among the options. */
  private async revList(
    tip: string,
    exclude: readonly string[],
    options: readonly string[],
    paths: readonly string[] = [],
  ): Promise<CommitRef[]> {
    const there: string[] = [];
    for (const id of new Set(exclude)) if ((await this.objects.info(id)) !== null) there.push(id);
    await this.requireCommit(tip);
    const said = await this.git.run(['rev-list', ...options, tip, ...there.map((id) => `^${id}`), ...paths]);
    return [...stepsIn(Buffer.from(said, 'latin1'))];
  }

  /** Whether a commit is in the clone. */
  async hasCommit(id: string): Promise<boolean> {
    return (await this.objects.info(id))?.type === 'commit';
  }

  private async requireCommit(id: string): Promise<void> {
    if (!(await this.hasCommit(id)))
      throw invalid('object-missing', `commit ${shortId(id)} is not in the control repository`, {
        hint: 'has it been pushed, and the whole id been given?',
      });
  }

  /** Whether `ancestor` is in the history of `descendant`, itself included. A commit that is not here is nobody's ancestor. */
  async isAncestor(ancestor: string, descendant: string): Promise<boolean> {
    await this.requireCommit(descendant);
    if (!(await this.hasCommit(ancestor))) return false;
    const near = await isNearAncestor(this, ancestor, descendant);
    if (near !== null) return near;
    try {
      await this.git.run(['merge-base', '--is-ancestor', ancestor, descendant]);
      return true;
    } catch (error) {
      if (error instanceof GitFailure && error.status === 1) return false;
      throw error;
    }
  }

  /** A commit, taken apart; at most 1 MiB of it. */
  async readCommit(id: string): Promise<Commit> {
    return parseCommit(await this.objects.read(id, 'commit', COMMIT_LIMIT));
  }

  /** The entries of a tree. */
  async readTree(id: string): Promise<TreeEntry[]> {
    return parseTree(await this.objects.read(id, 'tree', TREE_LIMIT));
  }

  /** What lies at `path` in a commit, of whatever kind, or null. */
  async entryAt(commit: Commit, path: string): Promise<TreeEntry | null> {
    let tree = commit.tree;
    const segments = path.split('/');
    for (const [i, segment] of segments.entries()) {
      const entry = (await this.readTree(tree)).find(({ name }) => name === segment);
      if (!entry || i === segments.length - 1) return entry ?? null;
      if (entry.kind !== 'tree') return null;
      tree = entry.id;
    }
    return null;
  }

  /** A regular file at `path`, at most `limit` bytes, or null; anything else there is refused as `NAME-not-a-file`. */
  async readFileAt(commit: Commit, path: string, limit: number): Promise<Buffer | null> {
    const entry = await this.entryAt(commit, path);
    return entry === null ? null : this.readEntry(entry, path, limit);
  }

  /** The content of an entry that has to be a regular file. */
  async readEntry(entry: TreeEntry, path: string, limit: number): Promise<Buffer> {
    const name = path.split('/').at(-1) ?? path;
    if (entry.kind !== 'file')
      throw invalid(
        `${/^[a-z]+$/i.test(name) ? name.toLowerCase() : 'entry'}-not-a-file`,
        `${printable(path)} is a ${entry.kind === 'tree' ? 'folder' : entry.kind} in the commit, and not a regular file`,
      );
    return this.objects.read(entry.id, 'blob', limit);
  }

  /** An object by its id. */
  readObject(id: string, type: ObjectType, limit: number): Promise<Buffer> {
    return this.objects.read(id, type, limit);
  }
}
