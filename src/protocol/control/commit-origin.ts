import type { CommitRef } from '../../lib/git/first-parent-walk.ts';
import type { CommitGraph } from '../../lib/git/commit-graph.ts';

/** The most results for single commits that are cached. */
const REMEMBERED = 10_000;

/** The roots whose descendants are ours: those in the configuration, or else those of the first accepted head. */
interface PinnedRoots {
  readonly ids: readonly string[];
  /** Whether they are from the configuration: then no accepted head is known to descend from one. */
  readonly configured: boolean;
}

/**
 * Decides which commits belong to this control repository. A commit is ours if it is a pinned root or any of its
 * parents is ours. Without this rule a Git host could merge the signed requests of another repository that allows the
 * same keys, since a request names only its parents.
 */
export class Origin {
  /** Commits of the request branch that descend from no pinned root. */
  private readonly foreign = new Set<string>();
  private readonly remembered = new Map<string, boolean>();

  constructor(
    private readonly history: Pick<CommitGraph, 'isAncestor'>,
    private readonly pinned: () => PinnedRoots,
  ) {}

  /**
   * Decides about new commits of the request branch, parents before children. `after` is the accepted head that they
   * follow, or null at the beginning: commits in its history are not decided again.
   */
  async learn(commits: readonly CommitRef[], after: string | null): Promise<void> {
    const { ids, configured } = this.pinned();
    // Each accepted head descends from the one before, and the first from the roots that were pinned with it.
    if (after !== null && !configured) this.remember(after, true);
    const fresh = new Set<string>();
    for (const { id, parents } of commits) {
      fresh.add(id);
      let ours = ids.includes(id);
      for (const parent of parents)
        ours ||= fresh.has(parent) ? !this.foreign.has(parent) : await this.descends(parent);
      if (!ours) this.foreign.add(id);
    }
  }

  /** Forgets all decisions, because the roots were pinned again. */
  forget(): void {
    this.foreign.clear();
    this.remembered.clear();
  }

  /** The pinned roots; none until the request branch exists. */
  get roots(): readonly string[] {
    return this.pinned().ids;
  }

  /** Whether a commit of the request branch, about which `learn` has decided, belongs to another repository. */
  isForeign(id: string): boolean {
    return this.foreign.has(id);
  }

  /** Whether every root that a commit names is pinned; true if it names none. */
  isMeant(named: readonly string[]): boolean {
    const { ids } = this.pinned();
    return named.every((root) => ids.includes(root));
  }

  /** Whether a commit on any branch is for this repository: it names pinned roots only, or none and descends from one. */
  async isOurs(id: string, named: readonly string[]): Promise<boolean> {
    return named.length > 0 ? this.isMeant(named) : this.descends(id);
  }

  private async descends(id: string): Promise<boolean> {
    const remembered = this.foreign.has(id) ? false : this.remembered.get(id);
    if (remembered !== undefined) return remembered;
    let descends = false;
    for (const root of this.pinned().ids) descends ||= await this.history.isAncestor(root, id);
    this.remember(id, descends);
    return descends;
  }

  private remember(id: string, descends: boolean): void {
    if (this.remembered.size >= REMEMBERED) this.remembered.clear();
    this.remembered.set(id, descends);
  }
}
