import { invalid } from '../errors.ts';
import type { CatFile } from './cat-file.ts';
import { GitFailure, type Git } from './git.ts';
import {
  isNearAncestor,
  firstParentsBetween,
  firstParentsUpTo,
  linearHistory,
  commitsChanging,
  type CommitRef,
} from './first-parent-walk.ts';
import { parseCommit, parseTree, shortId, type Commit, type ObjectType, type TreeEntry } from './objects.ts';
import { KnownLine } from './known-line.ts';
import { printable } from '../printable.ts';

/** The largest commits and trees that are read, in bytes. */
export const COMMIT_LIMIT = 1024 * 1024;
const TREE_LIMIT = 16 * 1024 * 1024;
/** For how many paths the commits that changed them are remembered. */
const PATHS_LIMIT = 8;

const idsOf = (commits: readonly CommitRef[]): string[] => commits.map(({ id }) => id);

const LF = 10;
const ID_LENGTH = 40;

/**
 * Parses the output of `git rev-list`: lines of ids with spaces between them. Each id is decoded separately: a slice of
 * one long string would keep all of it in memory.
 */
function* parseRevList(output: Buffer): Generator<CommitRef> {
  for (let at = 0; at < output.length;) {
    const lineEnd = output.indexOf(LF, at);
    const end = lineEnd < 0 ? output.length : lineEnd;
    const ids: string[] = [];
    for (; at < end; at += ID_LENGTH + 1) ids.push(output.toString('latin1', at, at + ID_LENGTH));
    const [id = '', ...parents] = ids;
    yield { id, parents };
    at = end + 1;
  }
}

/** A Git repository on this machine: its objects, and how its commits are connected. */
export class CommitGraph {
  /** Only for speed: the commits that changed a path, up to a tip. As the history grows, only new commits are read. */
  readonly touched = new Map<string, { tip: string; ids: readonly string[] }>();

  private readonly line = new KnownLine();

  constructor(
    protected readonly git: Git,
    protected readonly objects: CatFile,
  ) {}

  /** The commits that `tip` has and none of `exclude` has, oldest first, parents before children. Missing commits in `exclude` are ignored. */
  async commitsBetween(tip: string, exclude: readonly string[] = []): Promise<string[]> {
    const walked = await this.walkTo(linearHistory, tip, exclude);
    return idsOf(walked?.reverse() ?? (await this.revList(tip, exclude, ['--topo-order', '--reverse'])));
  }

  /** The commits that `commitsBetween` lists, with their parents. */
  async commitRefsBetween(tip: string, exclude: readonly string[] = []): Promise<CommitRef[]> {
    const walked = await this.walkTo(linearHistory, tip, exclude);
    const options = ['--topo-order', '--reverse', '--parents'];
    const commits = walked?.reverse() ?? (await this.revList(tip, exclude, options));
    this.line.learn(commits);
    return commits;
  }

  /** The first-parent history of `tip`, newest first, each commit with its parents. */
  async firstParents(tip: string, exclude: readonly string[] = []): Promise<CommitRef[]> {
    const walked = await this.walkTo(firstParentsBetween, tip, exclude);
    return walked ?? this.revList(tip, exclude, ['--first-parent', '--topo-order', '--parents']);
  }

  /** The newest commits of the first-parent history of `tip`, at most `count`, newest first, with their parents. */
  async newestFirstParents(tip: string, count: number): Promise<CommitRef[]> {
    const walked = await firstParentsUpTo(this, tip, count);
    if (walked) return walked;
    // One chain needs no sorting, for which git would read all of it.
    return this.revList(tip, [], ['--first-parent', '--parents', `--max-count=${count}`]);
  }

  /** The commits without parents in the history of `tip`. */
  async rootsOf(tip: string): Promise<string[]> {
    return idsOf(await this.revList(tip, [], ['--max-parents=0']));
  }

  /** The first commit of the first-parent history of `tip`. */
  async firstParentRoot(tip: string): Promise<string | null> {
    return idsOf(await this.revList(tip, [], ['--first-parent', '--max-parents=0']))[0] ?? null;
  }

  /** The whole first-parent history of `tip`, oldest first, without parents, which would take most of the memory. */
  async firstParentIds(tip: string): Promise<string[]> {
    return idsOf(await this.revList(tip, [], ['--first-parent', '--topo-order', '--reverse']));
  }

  /** Only for speed: the commits of a short way from `tip` to `base`, read without a new git process; null if there is none. */
  private async walkTo(
    walk: typeof firstParentsBetween,
    tip: string,
    [base, ...more]: readonly string[],
  ): Promise<CommitRef[] | null> {
    await this.requireCommit(tip);
    return base === undefined || more.length > 0 ? null : walk(this, tip, base);
  }

  /** The commits that changed `path` against every parent, newest first (parents after children). */
  async commitsTouching(tip: string, path: string, exclude: readonly string[] = []): Promise<string[]> {
    const key = [path, ...exclude].join(' ');
    const ids = (await this.touchedSince(tip, path, key)) ?? (await this.allTouching(tip, path, exclude));
    if (this.touched.size >= PATHS_LIMIT) this.touched.clear();
    this.touched.set(key, { tip, ids });
    return [...ids];
  }

  private async allTouching(tip: string, path: string, exclude: readonly string[]): Promise<string[]> {
    return idsOf(await this.revList(tip, exclude, ['--topo-order', '--full-history'], ['--', path]));
  }

  /** Adds new commits to the result for an earlier tip; null, to ask git, if there is none or a merge followed it. */
  private async touchedSince(tip: string, path: string, key: string): Promise<readonly string[] | null> {
    const cached = this.touched.get(key);
    const added = cached && (await this.walkTo(linearHistory, tip, [cached.tip]));
    const newer = added && (await commitsChanging(this, added, path));
    return newer ? [...newer, ...cached.ids] : null;
  }

  /** Runs `git rev-list`. Parents are listed only with `--parents` among the options. */
  private async revList(
    tip: string,
    exclude: readonly string[],
    options: readonly string[],
    paths: readonly string[] = [],
  ): Promise<CommitRef[]> {
    const present: string[] = [];
    for (const id of new Set(exclude)) if ((await this.objects.info(id)) !== null) present.push(id);
    await this.requireCommit(tip);
    const output = await this.git.run([
      'rev-list',
      ...options,
      tip,
      ...present.map((id) => `^${id}`),
      ...paths,
    ]);
    return [...parseRevList(Buffer.from(output, 'latin1'))];
  }

  /** Whether a commit is in the repository. */
  async hasCommit(id: string): Promise<boolean> {
    return (await this.objects.info(id))?.type === 'commit';
  }

  private async requireCommit(id: string): Promise<void> {
    if (!(await this.hasCommit(id)))
      throw invalid('object-missing', `commit ${shortId(id)} is not in the repository`, {
        hint: 'was it pushed, and is this its whole id?',
      });
  }

  /** Whether `ancestor` is `descendant` or in its history. A missing commit is not an ancestor of any commit. */
  async isAncestor(ancestor: string, descendant: string): Promise<boolean> {
    await this.requireCommit(descendant);
    if (!(await this.hasCommit(ancestor))) return false;
    const near =
      this.line.isAncestor(ancestor, descendant) ?? (await isNearAncestor(this, ancestor, descendant));
    if (near !== null) return near;
    try {
      await this.git.run(['merge-base', '--is-ancestor', ancestor, descendant]);
      return true;
    } catch (error) {
      if (error instanceof GitFailure && error.status === 1) return false;
      throw error;
    }
  }

  /** Reads and parses a commit of at most 1 MiB. */
  async readCommit(id: string): Promise<Commit> {
    return parseCommit(await this.objects.read(id, 'commit', COMMIT_LIMIT));
  }

  /** The entries of a tree. */
  async readTree(id: string): Promise<TreeEntry[]> {
    return parseTree(await this.objects.read(id, 'tree', TREE_LIMIT));
  }

  /** The tree entry at `path` in a commit, of any kind, or null. */
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

  /** The regular file at `path`, at most `limit` bytes, or null. Throws `NAME-not-a-file` for anything else. */
  async readFileAt(commit: Commit, path: string, limit: number): Promise<Buffer | null> {
    const entry = await this.entryAt(commit, path);
    return entry === null ? null : this.readEntry(entry, path, limit);
  }

  /** The content of an entry, which must be a regular file. */
  async readEntry(entry: TreeEntry, path: string, limit: number): Promise<Buffer> {
    const name = path.split('/').at(-1) ?? path;
    if (entry.kind !== 'file')
      throw invalid(
        `${/^[a-z]+$/i.test(name) ? name.toLowerCase() : 'entry'}-not-a-file`,
        `${printable(path)} is a ${entry.kind === 'tree' ? 'folder' : entry.kind} in the commit, not a regular file`,
      );
    return this.objects.read(entry.id, 'blob', limit);
  }

  /** An object by its id. */
  readObject(id: string, type: ObjectType, limit: number): Promise<Buffer> {
    return this.objects.read(id, type, limit);
  }
}
