import { inOrder } from '../archive/ordered.ts';
import type { AllowedSigners } from '../sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../control/commit-signature.ts';
import { GitFailure } from '../control/git.ts';
import { readHold, type Hold } from '../control/hold.ts';
import { shortId } from '../control/objects.ts';
import { printable } from '../printable.ts';
import { readPolicy, readReceiptsOwner, type PublishedPolicy } from '../control/receipt.ts';
import type { ControlRepository, Heads } from '../control/repository.ts';
import { listRequests } from '../control/request.ts';
import { parsePublicKeyLine } from '../sshsig/ssh-key.ts';
import { invalid, notAllowed } from '../errors.ts';
import type { Bar } from '../progress.ts';
import { Findings } from './findings.ts';
import type { Audit, AuditRow, Problem } from './model.ts';
import { auditReceipts } from './crew.ts';
import type { AuditedReceipt, ReceiptContext } from './receipt-audit.ts';
import { auditRequest, provenBy, reportDamage } from './request-audit.ts';
import { settle, waitingRow } from './rows.ts';
import { repeats, Vouches } from './vouches.ts';

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

/** What the history besides a receipt tells, to which it is held. */
interface Surroundings {
  /** The requests, and every commit, in the history of the request branch. */
  readonly requests: ReadonlySet<string>;
  readonly history: ReadonlySet<string>;
  readonly vouches: Vouches;
  /** Answers so far, by request. */
  readonly answered: Map<string, AuditRow>;
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
function waitingFor(hold: Hold | null, vouches: number, needed: number): string | null {
  if (hold?.held) return `on hold by ${hold.by ?? 'somebody unknown'}`;
  return vouches < needed ? `${vouches} of ${needed} vouches` : null;
}

/** The row of a receipt, with what does not hold about it in its surroundings. */
function placed(audited: AuditedReceipt, row: AuditRow, around: Surroundings): AuditRow {
  const findings = new Findings(audited.id);
  const id = shortId(row.request);
  if (!around.history.has(row.request))
    findings.add('request-elsewhere', `it answers ${id}, which the request branch does not have`);
  else if (!around.requests.has(row.request))
    findings.add('request-none', `it answers ${id}, which asks for nothing: zipname is as it was before`);
  compareVouches(audited, row, around.vouches, findings);
  if (audited.signedByOwner) compareRepetition(row, around.answered, findings);
  return { ...row, problems: [...row.problems, ...findings.problems] };
}

/** Each vouch that a receipt counts has to stand on its branch, and one voice counts once. */
function compareVouches(
  { requested }: AuditedReceipt,
  { vouchedBy, askedBy }: AuditRow,
  vouches: Vouches,
  findings: Findings,
): void {
  for (const [i, vouch] of vouchedBy.entries()) {
    findings.check(() => vouches.require(vouch, { files: requested }, askedBy));
    if (vouchedBy.slice(0, i).some((each) => repeats(each, vouch)))
      findings.add('vouch-repeated', `it counts ${vouch.signer} twice`);
  }
}

/** A request is answered once; only after a failure may it be taken up again. */
function compareRepetition(row: AuditRow, answered: Map<string, AuditRow>, findings: Findings): void {
  const before = answered.get(row.request);
  if (before === undefined || before.claimed === 'failed') answered.set(row.request, row);
  else
    findings.add(
      'request-answered-twice',
      `it answers ${shortId(row.request)}, which ${shortId(before.receipt ?? '')} answered before`,
    );
}

class Auditor {
  private readonly problems: Problem[] = [];
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
    const asked = requests === null ? [] : await listRequests(this.repository, requests);
    const vouches = await Vouches.read(this.repository, this.heads, this.options.allowed);
    this.verified += vouches.size;
    const history = new Set(requests === null ? [] : await this.repository.commitsBetween(requests));
    const line = receipts === null ? [] : (await this.repository.firstParents(receipts)).reverse();
    const receiptsBy = line[0] ? await this.readOwner(line[0].id) : null;
    const around = { requests: new Set(asked), history, vouches, answered: new Map<string, AuditRow>() };
    const answers = await this.readAnswers(this.contextFor(receiptsBy?.key ?? ''), line, around);
    if (receipts !== null) await this.findStrange(receipts, new Set(line.map(({ id }) => id)), answers);
    const policy = await this.readPolicy();
    const hold = await this.readHold(policy);
    const waiting = await this.readWaiting(asked, answers, { vouches, hold, policy });
    this.requireKeyOfItsOwn(receiptsBy?.key, [...answers, ...waiting]);
    const rows = [...answers, ...waiting].map(settle);
    return {
      heads: { requests, receipts },
      receiptsBy,
      hold,
      rows,
      problems: [...this.problems, ...rows.flatMap((row) => row.problems)],
      verified: this.verified,
    };
  }

  /** Where nobody can say whose the branch is, no key may sign on it. */
  private contextFor(ownerKey: string): ReceiptContext {
    const { allowed, receiptSigners } = this.options;
    return {
      repository: this.repository,
      allowed,
      receiptSigners: receiptSigners ?? allowed,
      onlyKey: receiptSigners ? null : ownerKey,
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

  private async readAnswers(
    context: ReceiptContext,
    line: readonly { id: string }[],
    around: Surroundings,
  ): Promise<AuditRow[]> {
    const { bar } = this.options;
    const steps = line.slice(1).map(({ id }, i) => ({ id, previous: line[i]?.id ?? '' }));
    const rows: AuditRow[] = [];
    let done = 0;
    for await (const audited of auditReceipts(context, steps)) {
      this.verified += 2;
      if (audited.row) rows.push(placed(audited, audited.row, around));
      else this.problems.push(...audited.problems);
      bar?.update(++done, steps.length);
    }
    return rows;
  }

  /** What the receipt branch brings along besides receipts, and requests that the request branch has. */
  private async findStrange(
    receipts: string,
    line: ReadonlySet<string>,
    answers: readonly AuditRow[],
  ): Promise<void> {
    const { requests } = this.heads;
    const brought = await this.repository.commitsBetween(receipts, requests === null ? [] : [requests]);
    const told = new Set(answers.map((row) => row.request));
    const strange = brought.filter((id) => !line.has(id) && !told.has(id));
    const last = strange.at(-1);
    if (last === undefined) return;
    const findings = new Findings(last);
    findings.add(
      'receipts-strange-history',
      `the receipt branch brings ${strange.length} commit${strange.length === 1 ? '' : 's'} along, this the last, that ${strange.length === 1 ? 'is no receipt and is' : 'are no receipts and are'} not on the request branch`,
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
    const acceptUnsigned = policy?.channels['default']?.unsignedRequests === 'accept';
    if (requests === null) return null;
    const findings = new Findings(requests);
    const hold = await findings.try(() =>
      readHold(this.repository, requests, { allowed, acceptUnsigned, now: this.now }),
    );
    this.problems.push(...findings.problems);
    return hold ?? null;
  }

  private async readWaiting(
    asked: readonly string[],
    answers: readonly AuditRow[],
    { vouches, hold, policy }: { vouches: Vouches; hold: Hold | null; policy: PublishedPolicy | null },
  ): Promise<AuditRow[]> {
    const { after, allowed } = this.options;
    const answered = new Set(answers.map((row) => row.request));
    const old = new Set(after === undefined ? [] : await this.repository.commitsBetween(after));
    const tasks = asked
      .filter((id) => !answered.has(id) && !old.has(id))
      .map((id) => () => auditRequest(this.repository, id, allowed));
    const rows: AuditRow[] = [];
    for await (const audited of inOrder(tasks, WIDTH)) {
      this.verified += 1;
      const findings = new Findings(audited.request.id);
      reportDamage(audited, findings);
      const vouchedBy = vouches.for(audited.request, provenBy(audited));
      const needed = policy?.channels[audited.request.channel]?.vouches ?? 0;
      rows.push(
        waitingRow(audited, vouchedBy, waitingFor(hold, vouchedBy.length, needed), findings.problems),
      );
    }
    return rows;
  }

  /**
   * Where one file says who may sign what, a builder could answer its own requests. The signer's key is on no
   * builder's machine, so it never asks or vouches.
   */
  private requireKeyOfItsOwn(key: string | undefined, rows: readonly AuditRow[]): void {
    if (key === undefined || this.options.receiptSigners) return;
    const both = rows.find(
      (row) => row.askedBy?.key === key || row.vouchedBy.some((vouch) => vouch.key === key),
    );
    if (!both) return;
    const findings = new Findings(both.request);
    findings.add(
      'receipt-key-asks',
      `the key that signs receipts (${key}) signed this request or vouched for it: whoever asks could answer; say with --receipt-signers who may sign receipts`,
    );
    this.problems.push(...findings.problems);
  }
}
