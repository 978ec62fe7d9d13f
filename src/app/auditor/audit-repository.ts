import { inOrder } from '../../lib/concurrency/in-order.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { whoSigned } from '../../lib/git/commit-signature.ts';
import { GitFailure } from '../../lib/git/git.ts';
import { HOLD, readHold, type Hold } from '../../protocol/control/hold.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { channelIn, readPolicy, type PublishedPolicy } from '../../protocol/control/published-policy.ts';
import { OWNER, readProvenOwner } from '../../protocol/control/receipts-owner.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { invalid, usage } from '../../lib/errors.ts';
import type { ProgressBar } from '../../lib/progress.ts';
import { Cancellations } from '../overview/cancellations.ts';
import type { Notice } from '../overview/model.ts';
import { holdReason, waitingReason } from '../overview/waiting-reason.ts';
import type { AuditedAnswer, JudgedReceipt } from './workers.ts';
import { AuditMemory } from './audit-memory.ts';
import { Findings } from './findings.ts';
import type { Audit, AuditRow, Problem } from './model.ts';
import { CompressedRows, RowCompressor } from './compressed-rows.ts';
import type { ReceiptContext } from './receipt-audit.ts';
import { auditRequest, reportDamage, type AuditedRequest } from './request-audit.ts';
import { waitingRow } from './build-rows.ts';
import { CrossChecks } from './cross-checks.ts';
import type { Vouches } from './vouches.ts';

/** Requests that are read at the same time. */
const WIDTH = 64;

export interface AuditOptions {
  /** Who may sign requests and vouches, and receipts unless `receiptSigners` is given. */
  readonly allowed: AllowedSigners;
  /** Who may sign receipts: any key in it, so that one key can succeed another. */
  readonly receiptSigners?: AllowedSigners;
  /** Requests in the history of this commit need no answer (`control.since` of the signer). */
  readonly after?: string;
  readonly now?: Date;
  /** Shows how many receipts have been checked. */
  readonly bar?: ProgressBar;
  /** What earlier audits of this repository verified; without it, everything is read. */
  readonly memory?: AuditMemory;
}

/**
 * Reads the whole history of a control repository and checks its signatures and links. Throws only errors of this
 * machine or of the options; errors in the history are returned as problems.
 */
export async function readAudit(repository: ControlRepository, options: AuditOptions): Promise<Audit> {
  try {
    return await new Auditor(repository, options, await repository.heads()).run();
  } catch (cause) {
    if (!(cause instanceof GitFailure)) throw cause;
    throw invalid(
      'control-damaged',
      `${printable(repository.path)}: git cannot read its history: ${printable(cause.stderr.trim(), 300)}`,
      { hint: 'run git fsck there; compare with another clone', cause },
    );
  }
}

/** What decides about requests without an answer. */
interface WaitingContext {
  readonly vouches: Vouches;
  readonly cancellations: Cancellations;
  readonly hold: Notice | null;
  readonly policy: PublishedPolicy | null;
  readonly now: Date;
}

/** The row of a request without an answer. */
async function waitingRowFor(audited: AuditedRequest, context: WaitingContext): Promise<AuditRow> {
  const { vouches, cancellations, hold, policy, now } = context;
  const findings = new Findings(audited.request.id);
  reportDamage(audited, findings);
  const vouchedBy = vouches.for(audited.request, audited.by && whoSigned(audited.by));
  const reason = await waitingReason(audited.request, {
    hold,
    cancelled: (acceptUnsigned) => cancellations.reasonFor(audited.request, acceptUnsigned),
    policy: channelIn(policy, audited.request.channel),
    vouches: () => vouchedBy.length,
    now,
  });
  return waitingRow(audited, vouchedBy, reason?.text ?? null, findings.problems);
}

class Auditor {
  private readonly problems: Problem[] = [];
  private receiptsBy: Audit['receiptsBy'] = null;
  private readonly rows = new CompressedRows();
  /** The problems of the rows, in their order. */
  private readonly rowProblems: Problem[] = [];
  /** The first request that was signed or vouched for with the key of the receipts. */
  private ownRequest: string | null = null;
  private readonly now: Date;
  private verified = 0;
  private readonly memory: AuditMemory;

  constructor(
    private readonly repository: ControlRepository,
    private readonly options: AuditOptions,
    private readonly heads: Heads,
  ) {
    this.now = options.now ?? new Date();
    this.memory = options.memory ?? new AuditMemory(false);
  }

  async run(): Promise<Audit> {
    const { requests, receipts } = this.heads;
    const { memory, repository } = this;
    const { allowed, receiptSigners } = this.options;
    memory.begin([allowed, receiptSigners ?? allowed], this.now);
    const commits = await memory.readRequests(repository, requests);
    const receiptIds = await memory.readReceiptIds(repository, receipts);
    if (![...commits.values()].includes(true)) await this.requireControl(receiptIds[0]);
    const vouches = await memory.readVouches(repository, this.heads, allowed);
    this.verified += vouches.size;
    this.receiptsBy = receiptIds[0] === undefined ? null : await this.readOwner(receiptIds[0]);
    const crossChecks = new CrossChecks(commits, vouches);
    await this.readAnswers(receiptIds.length - 1, crossChecks);
    if (receipts !== null) await this.findUnexpected(receipts, new Set(receiptIds), crossChecks);
    const policy = await this.readPolicy();
    const hold = await this.readHold(policy);
    const onHold = await holdReason(this.repository, hold, { named: true });
    const cancellations = new Cancellations(repository, {
      tip: requests,
      allowed,
      named: true,
      now: this.now,
      roots: policy?.roots,
    });
    await this.readWaiting(crossChecks.unanswered(), {
      vouches,
      cancellations,
      hold: onHold,
      policy,
      now: this.now,
    });
    this.requireKeyOfItsOwn();
    return {
      heads: { requests, receipts },
      receiptsBy: this.receiptsBy,
      hold,
      rows: this.rows,
      problems: [...memory.lost, ...this.problems, ...this.rowProblems],
      verified: this.verified,
    };
  }

  /**
   * Checks that a repository without requests is a control repository: it has a HOLD, or a receipt branch that begins
   * as a signer begins it. Otherwise, to report no problems about any repository would look like a proof.
   */
  private async requireControl(root: string | undefined): Promise<void> {
    const { requests } = this.heads;
    const { repository } = this;
    if (requests !== null && (await repository.commitsTouching(requests, HOLD)).length > 0) return;
    if (root !== undefined && (await repository.entryAt(await repository.readCommit(root), OWNER))) return;
    const { requests: asked, receipts } = repository.branches;
    throw usage(
      'control-not-one',
      `${printable(repository.path)}: is not a control repository, or not used yet: no commit on ${asked} has a zipname, and no branch ${receipts} begins with ${OWNER}`,
      { hint: 'give the control repository; --requests and --receipts name branches of other names' },
    );
  }

  /** If the owner of the branch is not known, no key may sign on it. */
  private context(): ReceiptContext {
    const { allowed, receiptSigners } = this.options;
    return {
      repository: this.repository,
      requests: this.heads.requests,
      allowed,
      receiptSigners: receiptSigners ?? allowed,
      onlyKey: receiptSigners ? null : (this.receiptsBy?.key ?? ''),
      now: this.now,
    };
  }

  /** The owner of the receipts: the key that the branch's first commit names, which must be allowed and have signed it. */
  private async readOwner(root: string): Promise<Audit['receiptsBy']> {
    const findings = new Findings(root);
    const signers = this.options.receiptSigners ?? this.options.allowed;
    const owner = await findings.try(() => readProvenOwner(this.repository, root, signers));
    this.verified += 1;
    this.problems.push(...findings.problems);
    return owner ?? null;
  }

  private async readAnswers(total: number, crossChecks: CrossChecks): Promise<void> {
    let done = 0;
    for await (const { receipts, chunks } of this.memory.judge(this.context())) {
      let at = this.rows.length;
      this.rows.add(chunks);
      for (const receipt of receipts) {
        this.verified += 2;
        if (receipt.answer) this.crossCheck(receipt, receipt.answer, crossChecks, at++);
        else this.problems.push(...receipt.problems);
        this.options.bar?.update(++done, total);
      }
    }
  }

  /** Checks an answer, whose row has the index `at`, against the rest of the history. */
  private crossCheck(
    receipt: JudgedReceipt,
    answer: AuditedAnswer,
    crossChecks: CrossChecks,
    at: number,
  ): void {
    this.noteAsker(answer);
    const later = crossChecks.judge(receipt, answer);
    if (later.length > 0) this.rows.addProblems(at, later);
    this.noteProblems(receipt.problems);
    this.noteProblems(later);
  }

  /** Finds commits in the history of the receipt branch that are neither receipts nor on the request branch. */
  private async findUnexpected(
    receipts: string,
    receiptIds: ReadonlySet<string>,
    crossChecks: CrossChecks,
  ): Promise<void> {
    const { clean } = this.memory;
    const known = [this.heads.requests, clean].filter((id) => id !== null);
    const reachable = await this.repository.commitsBetween(receipts, known);
    const unexpected = reachable.filter((id) => !receiptIds.has(id) && !crossChecks.isAnswered(id));
    const last = unexpected.at(-1);
    if (last === undefined) {
      this.memory.clean = receipts;
      return;
    }
    const findings = new Findings(last);
    findings.add(
      'receipts-strange-history',
      `the history of the receipt branch has ${plural(unexpected.length, 'commit')}, this the last, that ${unexpected.length === 1 ? 'is neither a receipt nor' : 'are neither receipts nor'} on the request branch`,
    );
    this.problems.push(...findings.problems);
  }

  /** The policy that was published last. */
  private async readPolicy(): Promise<PublishedPolicy | null> {
    const { receipts } = this.heads;
    if (receipts === null) return null;
    const findings = new Findings(receipts);
    const policy = await findings.try(async () =>
      readPolicy(this.repository, await this.repository.readCommit(receipts)),
    );
    this.problems.push(...findings.problems);
    return policy ?? null;
  }

  private async readHold(policy: PublishedPolicy | null): Promise<Hold | null> {
    const { requests } = this.heads;
    const { allowed } = this.options;
    const acceptUnsigned = channelIn(policy, 'default')?.unsignedRequests === 'accept';
    if (requests === null) return null;
    const findings = new Findings(requests);
    const hold = await findings.try(() =>
      readHold(this.repository, requests, { allowed, acceptUnsigned, now: this.now }),
    );
    this.problems.push(...findings.problems);
    return hold ?? null;
  }

  private async readWaiting(unanswered: readonly string[], context: WaitingContext): Promise<void> {
    const { after, allowed } = this.options;
    const old = new Set(after === undefined ? [] : await this.repository.commitsBetween(after));
    const due = unanswered.filter((id) => !old.has(id));
    await context.cancellations.beginAt(due[0]);
    const tasks = due.map((id) => () => auditRequest(this.repository, id, allowed));
    const compressor = new RowCompressor();
    for await (const audited of inOrder(tasks, WIDTH)) {
      this.verified += 1;
      const row = await waitingRowFor(audited, context);
      compressor.add(row);
      this.noteProblems(row.problems);
      this.noteAsker(row);
    }
    this.rows.add(compressor.flush());
  }

  /** Adds them one by one: there may be more problems than a call can have arguments. */
  private noteProblems(problems: readonly Problem[]): void {
    for (const problem of problems) this.rowProblems.push(problem);
  }

  private noteAsker({
    request,
    askedBy,
    vouchedBy,
  }: Pick<AuditRow, 'request' | 'askedBy' | 'vouchedBy'>): void {
    const key = this.receiptsBy?.key;
    if (key === undefined || this.ownRequest !== null) return;
    if (askedBy?.key === key || vouchedBy.some((vouch) => vouch.key === key)) this.ownRequest = request;
  }

  /**
   * If one file lists all signers, a builder could answer its own requests. The signer's key is on no builder's
   * machine, so it must never have signed a request or a vouch.
   */
  private requireKeyOfItsOwn(): void {
    if (!this.receiptsBy || this.ownRequest === null || this.options.receiptSigners) return;
    const findings = new Findings(this.ownRequest);
    findings.add(
      'receipt-key-asks',
      `the key that signs receipts (${this.receiptsBy.key}) signed this request or vouched for it, so a requester could answer its own requests; list the keys that may sign receipts with --receipt-signers`,
    );
    this.problems.push(...findings.problems);
  }
}
