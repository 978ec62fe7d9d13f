import { inOrder } from '../../lib/concurrency/in-order.ts';
import type { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { whoSigned, verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import { GitFailure } from '../../lib/git/git.ts';
import { HOLD, readHold, type Hold } from '../../protocol/control/hold.ts';
import { plural } from '../../lib/plural.ts';
import { printable } from '../../lib/printable.ts';
import { channelIn } from '../../protocol/control/published-policy.ts';
import {
  OWNER,
  readPolicy,
  readReceiptsOwner,
  type PublishedPolicy,
} from '../../protocol/control/receipt.ts';
import type { ControlRepository, Heads } from '../../protocol/control/repository.ts';
import { isAhead, requestsAmong } from '../../protocol/control/request.ts';
import { parsePublicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import { invalid, notAllowed, usage } from '../../lib/errors.ts';
import type { Bar } from '../../lib/progress.ts';
import type { Answer, JudgedReceipt } from './batch.ts';
import { auditReceipts } from './workers.ts';
import { Findings } from './findings.ts';
import type { Audit, AuditRow, Problem } from './model.ts';
import { PackedRows, RowPacker } from './compressed-rows.ts';
import type { ReceiptContext } from './receipt-audit.ts';
import { auditRequest, reportDamage, type AuditedRequest } from './request-audit.ts';
import { waitingRow } from './build-rows.ts';
import { Surroundings } from './cross-checks.ts';
import { Vouches } from './vouches.ts';

/** Requests that are read side by side. */
const WIDTH = 64;

export interface AuditOptions {
  /** Who may have signed requests, vouches and, unless `receiptSigners` says, receipts. */
  readonly allowed: AllowedSigners;
  /** Who may have signed receipts: any key in it, so that a key can be followed by the next. */
  readonly receiptSigners?: AllowedSigners;
  /** Requests in the history of this commit were never meant to be answered (`control.since` of the signer). */
  readonly after?: string;
  readonly now?: Date;
  /** Shown how many receipts are done. */
  readonly bar?: Bar;
}

/**
 * Reads everything that a control repository tells, and holds it to its signatures and links. It throws only
 * what is wrong with this machine or the options; what is wrong with the history comes back as problems.
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

/** What keeps an unanswered request, as far as the repository tells; null for whatever the signer alone knows. */
function waitingFor(
  { request }: AuditedRequest,
  { hold, now }: Known,
  vouches: number,
  needed: number,
): string | null {
  if (isAhead(request, now)) return `dated ahead: ${request.committedAt.toISOString()}`;
  if (hold?.held) return `on hold by ${hold.by ?? 'an unknown author'}`;
  return vouches < needed ? `${vouches} of ${needed} vouches` : null;
}

/** What decides about a request that has no answer. */
interface Known {
  readonly vouches: Vouches;
  readonly hold: Hold | null;
  readonly policy: PublishedPolicy | null;
  readonly now: Date;
}

/** The row of a request that has no answer, and what it waits for. */
function waitingRowFor(audited: AuditedRequest, known: Known): AuditRow {
  const { vouches, policy } = known;
  const findings = new Findings(audited.request.id);
  reportDamage(audited, findings);
  const vouchedBy = vouches.for(audited.request, audited.by && whoSigned(audited.by));
  const needed = channelIn(policy, audited.request.channel)?.vouches ?? 0;
  return waitingRow(
    audited,
    vouchedBy,
    waitingFor(audited, known, vouchedBy.length, needed),
    findings.problems,
  );
}

class Auditor {
  private readonly problems: Problem[] = [];
  private receiptsBy: Audit['receiptsBy'] = null;
  private readonly rows = new PackedRows();
  /** What does not hold about the rows, in their order. */
  private readonly rowProblems: Problem[] = [];
  /** The first request that the key of the receipts asked for or vouched for. */
  private ownRequest: string | null = null;
  private readonly now: Date;
  private verified = 0;

  constructor(
    private readonly repository: ControlRepository,
    private readonly options: AuditOptions,
    private readonly heads: Heads,
  ) {
    this.now = options.now ?? new Date();
  }

  async run(): Promise<Audit> {
    const { requests, receipts } = this.heads;
    const commits = await this.readRequests();
    const line = receipts === null ? [] : await this.repository.firstParentIds(receipts);
    if (![...commits.values()].includes(true)) await this.requireControl(line[0]);
    const vouches = await Vouches.read(this.repository, this.heads, this.options.allowed);
    this.verified += vouches.size;
    this.receiptsBy = line[0] === undefined ? null : await this.readOwner(line[0]);
    const around = new Surroundings(commits, vouches);
    await this.readAnswers(line, around);
    if (receipts !== null) await this.findStrange(receipts, new Set(line), around);
    const policy = await this.readPolicy();
    const hold = await this.readHold(policy);
    await this.readWaiting(around.unanswered(), { vouches, hold, policy, now: this.now });
    this.requireKeyOfItsOwn();
    return {
      heads: { requests, receipts },
      receiptsBy: this.receiptsBy,
      hold,
      rows: this.rows,
      problems: [...this.problems, ...this.rowProblems],
      verified: this.verified,
    };
  }

  /**
   * A repository without a single request has to show by other means that it is one: by a HOLD, or by a receipt
   * branch that begins as a signer begins it. To find nothing wrong with any other would look like a proof.
   */
  private async requireControl(root: string | undefined): Promise<void> {
    const { requests } = this.heads;
    const { repository } = this;
    if (requests !== null && (await repository.commitsTouching(requests, HOLD)).length > 0) return;
    if (root !== undefined && (await repository.entryAt(await repository.readCommit(root), OWNER))) return;
    const { requests: asked, receipts } = repository.branches;
    throw usage(
      'control-not-one',
      `${printable(repository.path)}: is no control repository, or none that was used yet: no commit on ${asked} has a zipname, and no branch ${receipts} begins with ${OWNER}`,
      { hint: 'give the control repository; --requests and --receipts name branches of other names' },
    );
  }

  /** The history of the request branch, oldest first: each commit, and whether it is a request. */
  private async readRequests(): Promise<Map<string, boolean>> {
    const { requests } = this.heads;
    if (requests === null) return new Map();
    const steps = await this.repository.commitRefsBetween(requests);
    const commits = new Map(steps.map(({ id }) => [id, false]));
    for (const id of await requestsAmong(this.repository, steps)) commits.set(id, true);
    return commits;
  }

  /** Where nobody can say whose the branch is, no key may sign on it. */
  private context(): ReceiptContext {
    const { allowed, receiptSigners } = this.options;
    return {
      repository: this.repository,
      allowed,
      receiptSigners: receiptSigners ?? allowed,
      onlyKey: receiptSigners ? null : (this.receiptsBy?.key ?? ''),
      now: this.now,
    };
  }

  /** Whose receipts these are: the key that the branch's first commit names, which has to have signed it, and to be permitted. */
  private async readOwner(root: string): Promise<Audit['receiptsBy']> {
    const findings = new Findings(root);
    const signers = this.options.receiptSigners ?? this.options.allowed;
    const owner = await findings.try(async () => {
      const { owner, commit } = await readReceiptsOwner(this.repository, root);
      const { fingerprint } = parsePublicKeyLine(owner.publicKey, 'the key in signer.json');
      if (fingerprint !== owner.fingerprint || commit.parents.length > 0)
        throw notAllowed('receipts-root', 'the receipt branch does not begin with a sound signer.json');
      const by = verifyCommitSignature(commit.raw, signers);
      if (by.fingerprint !== fingerprint)
        throw notAllowed(
          'receipts-root',
          `the receipt branch says that it belongs to ${fingerprint}, and ${by.fingerprint} signed that`,
        );
      return { principal: by.principal, key: fingerprint, name: owner.name, root };
    });
    this.verified += 1;
    this.problems.push(...findings.problems);
    return owner ?? null;
  }

  private async readAnswers(line: readonly string[], around: Surroundings): Promise<void> {
    let done = 0;
    for await (const { receipts, packs } of auditReceipts(this.context(), line)) {
      let at = this.rows.length;
      this.rows.add(packs);
      for (const receipt of receipts) {
        this.verified += 2;
        if (receipt.answer) this.place(receipt, receipt.answer, around, at++);
        else this.problems.push(...receipt.problems);
        this.options.bar?.update(++done, line.length - 1);
      }
    }
  }

  /** Holds an answer, whose row is at this place, to its surroundings. */
  private place(receipt: JudgedReceipt, answer: Answer, around: Surroundings, at: number): void {
    this.noteAsker(answer);
    const later = around.judge(receipt, answer);
    if (later.length > 0) this.rows.blame(at, later);
    this.noteProblems(receipt.problems);
    this.noteProblems(later);
  }

  /** What the receipt branch brings along besides receipts, and requests that the request branch has. */
  private async findStrange(
    receipts: string,
    line: ReadonlySet<string>,
    around: Surroundings,
  ): Promise<void> {
    const { requests } = this.heads;
    const brought = await this.repository.commitsBetween(receipts, requests === null ? [] : [requests]);
    const strange = brought.filter((id) => !line.has(id) && !around.isAnswered(id));
    const last = strange.at(-1);
    if (last === undefined) return;
    const findings = new Findings(last);
    findings.add(
      'receipts-strange-history',
      `the receipt branch brings ${plural(strange.length, 'commit')} along, this the last, that ${strange.length === 1 ? 'is no receipt and is' : 'are no receipts and are'} not on the request branch`,
    );
    this.problems.push(...findings.problems);
  }

  /** The policy as it was last published. */
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

  private async readWaiting(unanswered: readonly string[], known: Known): Promise<void> {
    const { after, allowed } = this.options;
    const old = new Set(after === undefined ? [] : await this.repository.commitsBetween(after));
    const tasks = unanswered
      .filter((id) => !old.has(id))
      .map((id) => () => auditRequest(this.repository, id, allowed));
    const packer = new RowPacker();
    for await (const audited of inOrder(tasks, WIDTH)) {
      this.verified += 1;
      const row = waitingRowFor(audited, known);
      packer.add(row);
      this.noteProblems(row.problems);
      this.noteAsker(row);
    }
    this.rows.add(packer.take());
  }

  /** One by one: there may be more than a call takes arguments. */
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
   * Where one file says who may sign what, a builder could answer its own requests. The signer's key is on no
   * builder's machine, so it never asks or vouches.
   */
  private requireKeyOfItsOwn(): void {
    if (!this.receiptsBy || this.ownRequest === null || this.options.receiptSigners) return;
    const findings = new Findings(this.ownRequest);
    findings.add(
      'receipt-key-asks',
      `the key that signs receipts (${this.receiptsBy.key}) signed this request or vouched for it: whoever asks could answer; say with --receipt-signers who may sign receipts`,
    );
    this.problems.push(...findings.problems);
  }
}
