import type { CommitRef } from './first-parent-walk.ts';

/** More commits than this are not remembered. */
const MOST = 50_000;

/**
 * Only for speed: a stretch of history without merges, of which each commit is the only parent of the next. Of two of
 * its commits, the lower is in the history of the higher, and not the other way round; so git need not be asked.
 */
export class KnownLine {
  private readonly heights = new Map<string, number>();
  private top = '';

  /** Remembers commits, oldest first, if they are such a stretch; it continues the known one or replaces it. */
  learn(all: readonly CommitRef[]): void {
    const firstNew = all.findIndex(({ id }) => !this.heights.has(id));
    const commits = firstNew < 0 ? [] : all.slice(firstNew);
    const [base] = commits[0]?.parents ?? [];
    if (base === undefined || !isLine(commits)) return;
    if (base !== this.top || this.heights.size + commits.length > MOST) {
      this.heights.clear();
      this.heights.set(base, 0);
    }
    let height = this.heights.get(base) ?? 0;
    for (const { id } of commits.slice(0, MOST)) {
      this.heights.set(id, (height += 1));
      this.top = id;
    }
  }

  /** Whether one commit is the other or in its history; null if it does not know both. */
  isAncestor(ancestor: string, descendant: string): boolean | null {
    const [lower, higher] = [this.heights.get(ancestor), this.heights.get(descendant)];
    return lower === undefined || higher === undefined ? null : lower <= higher;
  }
}

const isLine = (commits: readonly CommitRef[]): boolean =>
  commits.every(
    ({ parents }, at) => parents.length === 1 && (at === 0 || parents[0] === commits[at - 1]?.id),
  );
