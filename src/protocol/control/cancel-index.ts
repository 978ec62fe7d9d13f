import { claimedIdentity, signedIdentity } from '../../lib/git/commit-signature.ts';
import type { CommitRef } from '../../lib/git/first-parent-walk.ts';
import { isInvalid } from '../../lib/errors.ts';
import { requestCancelledBy, type CancelCommit } from './cancel.ts';
import type { ControlRepository } from './repository.ts';
import type { Request } from './request.ts';

/** Commits that are read at the same time. */
const BATCH = 200;
/** The newest commits that name one request are judged: more are not made by people. */
export const MOST_PER_REQUEST = 1000;
/** The most commits that are known to be covered without asking the history. */
const REMEMBERED = 10_000;

/** Commits that say that they cancel one request, oldest first. */
export interface NamingCommits {
  readonly commits: readonly CancelCommit[];
  /** There were older ones too, which were not kept: one of them may cancel the request. */
  readonly more: boolean;
}

/**
 * The commits of the request branch that say that they cancel a request, by request. Each commit is read once: as the
 * branch grows, only its new commits are. It begins after the first request that is asked about, since what cancels a
 * request descends from it, and begins again if an earlier one is asked about or history was rewritten.
 */
export class CancelIndex {
  private base: string | null = null;
  private tip: string | null = null;
  private readonly byRequest = new Map<string, NewestCommits>();
  /** By the identity that the named request claims: the same request may be there under several ids. */
  private readonly byIdentity = new Map<string, NewestCommits>();
  /** Commits that are not in the history of `base`. */
  private readonly covered = new Set<string>();
  private working: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly repository: ControlRepository,
    /** Of the commits that are read at once, only this many are, the newest. */
    private readonly newest = Infinity,
  ) {}

  /** The commits up to `tip` that name this request under any of its ids. Whether they count is not decided. */
  find(request: Pick<Request, 'id' | 'raw'>, tip: string): Promise<NamingCommits> {
    const result = this.working.then(() => this.findNow(request, tip));
    this.working = result.catch(() => null);
    return result;
  }

  private async findNow({ id, raw }: Pick<Request, 'id' | 'raw'>, tip: string): Promise<NamingCommits> {
    await this.cover(id, tip);
    const named = this.byRequest.get(id) ?? NONE;
    const identity = this.byIdentity.size === 0 ? null : claimedIdentity(raw);
    const claimed = identity === null ? NONE : (this.byIdentity.get(identity) ?? NONE);
    const others = claimed.commits.filter(({ request }) => request !== id);
    if ((others.length === 0 && !claimed.more) || signedIdentity(raw) === null) return named;
    const same: CancelCommit[] = [];
    for (const each of others) if ((await this.signedIdentityOf(each.request)) === identity) same.push(each);
    return { commits: [...named.commits, ...same], more: named.more || claimed.more };
  }

  private async cover(request: string, tip: string): Promise<void> {
    if (this.tip === null || !(await this.covers(request))) return this.begin(request, tip);
    if (tip === this.tip) return undefined;
    if (await this.repository.isAncestor(this.tip, tip)) return this.add(tip, this.tip);
    // What a later head has is known already; that it is known too early does no harm.
    return (await this.repository.isAncestor(tip, this.tip)) ? undefined : this.begin(request, tip);
  }

  /** Whether all that descends from a request is covered: it must not be in the history of the commit that this began with. */
  private async covers(request: string): Promise<boolean> {
    if (this.base === null || request === this.base || this.covered.has(request)) return true;
    const isBefore = await this.repository.isAncestor(request, this.base);
    if (!isBefore) this.remember(request);
    return !isBefore;
  }

  private async begin(request: string, tip: string): Promise<void> {
    this.tip = null;
    this.byRequest.clear();
    this.byIdentity.clear();
    this.covered.clear();
    this.base = request;
    await this.add(tip, request);
  }

  private async add(tip: string, after: string): Promise<void> {
    const all = await this.repository.commitRefsBetween(tip, [after]);
    const commits = all.slice(Math.max(0, all.length - this.newest));
    for (let at = 0; at < commits.length; at += BATCH) {
      const batch = commits.slice(at, at + BATCH);
      const found = await Promise.all(batch.map((each) => this.cancelIn(each)));
      for (const [i, { id }] of batch.entries()) {
        this.remember(id);
        const request = found[i];
        if (request) await this.enter({ commit: id, request });
      }
    }
    this.tip = tip;
  }

  /** The request that a commit names; null for one with several parents, which cancels nothing. */
  private async cancelIn({ id, parents }: CommitRef): Promise<string | null> {
    if (parents.length !== 1) return null;
    try {
      return requestCancelledBy((await this.repository.readCommit(id)).message);
    } catch (error) {
      if (isInvalid(error)) return null;
      throw error;
    }
  }

  private async enter(cancel: CancelCommit): Promise<void> {
    append(this.byRequest, cancel.request, cancel);
    const raw = await this.rawOf(cancel.request);
    const identity = raw && claimedIdentity(raw);
    if (identity !== null) append(this.byIdentity, identity, cancel);
  }

  private async signedIdentityOf(request: string): Promise<string | null> {
    const raw = await this.rawOf(request);
    return raw && signedIdentity(raw);
  }

  /** A commit's bytes; null if there is no such commit, or it cannot be read. */
  private async rawOf(id: string): Promise<Buffer | null> {
    try {
      return (await this.repository.hasCommit(id)) ? (await this.repository.readCommit(id)).raw : null;
    } catch (error) {
      if (isInvalid(error)) return null;
      throw error;
    }
  }

  private remember(id: string): void {
    if (this.covered.size >= REMEMBERED) this.covered.clear();
    this.covered.add(id);
  }
}

/** The newest of the commits that were added. */
class NewestCommits implements NamingCommits {
  readonly commits: CancelCommit[] = [];
  more = false;

  add(cancel: CancelCommit): void {
    this.commits.push(cancel);
    if (this.commits.length <= MOST_PER_REQUEST) return;
    this.commits.shift();
    this.more = true;
  }
}

const NONE: NamingCommits = new NewestCommits();

function append(lists: Map<string, NewestCommits>, key: string, cancel: CancelCommit): void {
  const list = lists.get(key) ?? new NewestCommits();
  list.add(cancel);
  lists.set(key, list);
}
