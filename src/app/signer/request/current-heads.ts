import { shortId } from '../../../lib/git/objects.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';
import type { ReceiptBranch } from './receipt-branch.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** The heads of the branches: fetched, judged and recorded as accepted before anything is done because of them. */
export class CurrentHeads {
  /** The heads that were accepted last. */
  private accepted: Heads | null = null;
  /** The tip of the receipt branch that is known to publish our policy. */
  private policyTip: string | null = null;
  /** The versions of outages and certificates with which the policy was last compared. */
  private policyVersion = '';
  /** Whether the request branch is known to have `control.since`. */
  private hasSince = false;
  /** Whether the last poll found no request branch. */
  private branchMissing = false;

  constructor(
    private readonly context: SignerContext,
    private readonly branch: ReceiptBranch,
  ) {}

  /** The heads that were accepted last; null before the first. */
  get last(): Heads | null {
    return this.accepted;
  }

  /** Fetches the remote's heads and accepts them if history only grew; throws alarms. */
  update(): Promise<Heads> {
    return this.branch.exclusively(() => this.updateNow());
  }

  private async updateNow(): Promise<Heads> {
    const { acceptedHeads, log, now } = this.context;
    const { heads, first, changed } = await this.branch.judgedHeads();
    await this.requireSince(heads);
    const roots = await this.rootsToPin(heads);
    if (first)
      log.warn(
        { requests: heads.requests, receipts: heads.receipts },
        'first sight of this control repository: its history is taken as it is',
      );
    if (changed || roots) await acceptedHeads.accept(heads, { at: now(), ...(roots && { roots }) });
    this.accepted = heads;
    return heads;
  }

  /** Accepts a history that was refused, because a person looked at it and decided so. */
  async acceptHistory(commit: string): Promise<void> {
    const { repository, acceptedHeads, origin, log, now } = this.context;
    const heads = await repository.fetch();
    const roots = heads.requests === null ? {} : { roots: await repository.rootsOf(heads.requests) };
    await acceptedHeads.acceptHistory(commit, heads, { at: now(), ...roots });
    origin.forget();
    log.warn({ commit }, `history accepted as it is at ${shortId(commit)}`);
  }

  /** Publishes the policy as it is configured now, if the receipt branch does not have it; returns the heads after that. */
  async publishPolicy(heads: Heads): Promise<Heads> {
    const { acceptedHeads, now, outages, renewals } = this.context;
    const version = `${outages.version} ${renewals.version}`;
    if (heads.receipts !== null && heads.receipts === this.policyTip && version === this.policyVersion)
      return heads;
    this.policyVersion = version;
    const after = await this.branch.publishPolicy(heads);
    this.policyTip = after.receipts;
    if (after.receipts !== acceptedHeads.heads?.receipts)
      await acceptedHeads.accept({ requests: heads.requests, receipts: after.receipts }, { at: now() });
    return after;
  }

  /** Warns once if there is no request branch: a builder may be pushing to another one. */
  async reportMissingBranch({ requests }: Heads): Promise<void> {
    const missing = requests === null;
    if (missing && !this.branchMissing) {
      const { repository, log } = this.context;
      const branches = [...(await repository.listRemote()).keys()]
        .slice(0, 10)
        .map((name) => printable(name, 60));
      const branch = repository.branches.requests;
      log.warn(
        { code: 'no-requests-branch', branch, branches },
        `the control repository has no branch ${branch}, where requests are looked for (control.requests); it has ${branches.length === 0 ? 'none yet' : branches.join(', ')}`,
      );
    }
    this.branchMissing = missing;
  }

  /**
   * Throws the alarm `history-lacks-since` if the request branch does not have `control.since`: every earlier request
   * would seem to be unanswered. Checked once, since accepted history only grows.
   */
  private async requireSince({ requests }: Heads): Promise<void> {
    const { repository, config } = this.context;
    const { since } = config.control;
    if (since === undefined || requests === null || this.hasSince) return;
    this.hasSince = await repository.isAncestor(since, requests);
    if (this.hasSince) return;
    throw new SignpipeError(
      'alarm',
      'history-lacks-since',
      `${repository.branches.requests} is at ${shortId(requests)}, and control.since, ${shortId(since)}, is not in its history`,
      {
        hint: `compare the branch with a copy you trust: the host may be showing an old state. If control.since is wrong, correct it in ${config.file}`,
      },
    );
  }

  /** The roots of the first accepted head of the request branch; null if roots are pinned already. */
  private async rootsToPin({ requests }: Heads): Promise<string[] | null> {
    const { acceptedHeads, repository, config, log } = this.context;
    const first = acceptedHeads.heads?.requests ?? requests;
    if (first === null || acceptedHeads.roots !== null || config.control.roots) return null;
    const roots = await repository.rootsOf(first);
    log.info({ roots }, 'pinned the roots of the request branch: requests must descend from one of them');
    this.policyTip = null;
    return roots;
  }
}
