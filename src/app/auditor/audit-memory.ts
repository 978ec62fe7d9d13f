import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { shortId } from '../../lib/git/objects.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { requestsAmong } from '../../protocol/control/request.ts';
import type { ReceiptContext } from './receipt-audit.ts';
import type { Problem } from './model.ts';
import { Vouches } from './vouches.ts';
import { auditReceipts, type ReceiptBatch } from './workers.ts';

/** After this time everything is verified again: keys and certificates expire, and disks fail. */
const KEPT_FOR_MS = 24 * 60 * 60 * 1000;
/** Lost histories that are reported; a host that goes back and forth must not fill memory. */
const LOSSES_LIMIT = 20;

interface KnownRequests {
  readonly tip: string;
  /** The commits of the request branch, oldest first, each with whether it is a request. */
  readonly commits: Map<string, boolean>;
}

interface KnownReceipts {
  /** The receipt branch, its root first. */
  readonly ids: string[];
  /** The judged receipts after the root, in order; they may be fewer than `ids`. */
  readonly batches: ReceiptBatch[];
}

/**
 * Only for speed: what audits of one repository verified, so that the next one reads only new commits. An audit without it
 * reads everything. It also notices a branch that no longer contains what an earlier audit saw, which one audit cannot.
 */
export class AuditMemory {
  private requests: KnownRequests | null = null;
  private receipts: KnownReceipts | null = null;
  private vouches: { readonly heads: string; readonly vouches: Vouches } | null = null;
  private key = '';
  private begun = -Infinity;
  private readonly losses: Problem[] = [];
  /** A tip of the receipt branch whose history has only receipts and requests. */
  clean: string | null = null;

  /** One that does not keep receipts, which take most of the memory, is for a single audit. */
  constructor(private readonly keepsReceipts = true) {}

  /** Branches that lost commits between two audits. */
  get lost(): readonly Problem[] {
    return this.losses;
  }

  /** Forgets what was verified with other lists of keys, or more than a day ago. */
  begin(lists: readonly AllowedSigners[], now: Date): void {
    const key = lists.map(({ text }) => text).join('\0');
    const age = now.getTime() - this.begun;
    if (key === this.key && age >= 0 && age < KEPT_FOR_MS) return;
    Object.assign(this, {
      requests: null,
      receipts: null,
      vouches: null,
      clean: null,
      key,
      begun: now.getTime(),
    });
  }

  /** The commits of the request branch, oldest first, each with whether it is a request. */
  async readRequests(repository: ControlRepository, tip: string | null): Promise<Map<string, boolean>> {
    const known = this.requests;
    const grows = known && (await this.hasGrown(repository, known.tip, tip, 'history-rewritten'));
    this.requests = null;
    // What is not on the branch any more may be a vouch.
    if (!grows) this.vouches = null;
    if (tip === null) return new Map();
    const refs = await repository.commitRefsBetween(tip, grows ? [known.tip] : []);
    const commits = grows ? known.commits : new Map<string, boolean>();
    for (const { id } of refs) commits.set(id, false);
    for (const id of await requestsAmong(repository, refs)) commits.set(id, true);
    this.requests = { tip, commits };
    return commits;
  }

  /** The receipt branch, its root first. */
  async readReceiptIds(repository: ControlRepository, tip: string | null): Promise<readonly string[]> {
    const known = this.receipts;
    const last = known?.ids.at(-1);
    const grows = last !== undefined && (await this.hasGrown(repository, last, tip, 'receipts-rewound'));
    this.receipts = null;
    if (tip === null || !grows) this.clean = null;
    if (tip === null) return [];
    const added = grows ? await repository.firstParents(tip, [last]) : null;
    // The old tip may have been merged in: then this is another first-parent history.
    const follows = added !== null && (added.at(-1)?.parents[0] ?? last) === last;
    if (added && !follows) {
      this.clean = null;
      this.noteLoss('receipts-rewound', last ?? '', 'as a receipt');
    }
    if (known && follows) for (const { id } of added.toReversed()) known.ids.push(id);
    const kept = known && follows ? known : { ids: await repository.firstParentIds(tip), batches: [] };
    this.receipts = kept;
    return kept.ids;
  }

  /** The judged receipts of the branch that `readReceiptIds` read, in order. */
  async *judge(context: ReceiptContext): AsyncGenerator<ReceiptBatch> {
    if (!this.receipts) return;
    const { ids, batches } = this.receipts;
    yield* batches;
    const done = batches.reduce((sum, { receipts }) => sum + receipts.length, 0);
    for await (const batch of auditReceipts(context, ids.slice(done))) {
      if (this.keepsReceipts) batches.push(batch);
      yield batch;
    }
  }

  /** The commits on the branches of vouches; `readRequests` has been called for the same heads. */
  async readVouches(repository: ControlRepository, heads: Heads, allowed: AllowedSigners): Promise<Vouches> {
    const key = JSON.stringify([...heads.vouches]);
    // A vouch that was merged into the request branch is none any more.
    const isVouch = (commit: string): boolean => !this.requests?.commits.has(commit);
    if (this.vouches?.heads !== key || !this.vouches.vouches.commits.every(isVouch))
      this.vouches = { heads: key, vouches: await Vouches.read(repository, heads, allowed) };
    return this.vouches.vouches;
  }

  /** Whether a branch still contains its earlier tip; if not, that is reported. */
  private async hasGrown(
    repository: ControlRepository,
    before: string,
    tip: string | null,
    code: string,
  ): Promise<boolean> {
    if (tip !== null && (await repository.isAncestor(before, tip))) return true;
    this.noteLoss(code, before);
    return false;
  }

  private noteLoss(code: string, commit: string, as = ''): void {
    const message = `the branch no longer contains ${shortId(commit)}${as === '' ? '' : ` ${as}`}, which an earlier audit saw at its tip: commits were cut off or replaced`;
    if (this.losses.length < LOSSES_LIMIT) this.losses.push({ code, commit, message });
  }
}
