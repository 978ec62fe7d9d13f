import { shortId } from '../../lib/git/objects.ts';
import type { AuditedAnswer, JudgedReceipt } from './workers.ts';
import { Findings } from './findings.ts';
import type { Problem } from './model.ts';
import type { Vouches } from './vouches.ts';

/** Checks receipts against the rest of the history, in the order of their branch. */
export class CrossChecks {
  /** The requests that have an answer, each with the receipt that answers it finally, if there is one. */
  private readonly answers = new Map<string, string | null>();

  /** The first answered request for each signed payload, by half of its hash: many of them are kept. */
  private readonly firsts = new Map<string, string>();

  constructor(
    /** The commits of the request branch, oldest first, each with whether it is a request. */
    private readonly commits: ReadonlyMap<string, boolean>,
    private readonly vouches: Vouches,
  ) {}

  /** The problems of an answer in the context of the rest of the history. */
  judge(receipt: JudgedReceipt, answer: AuditedAnswer): readonly Problem[] {
    const { request } = answer;
    const findings = new Findings(receipt.id);
    const asks = this.commits.get(request);
    if (asks === undefined)
      findings.add(
        'request-elsewhere',
        `it answers ${shortId(request)}, which the request branch does not have`,
      );
    else if (!asks)
      findings.add(
        'request-none',
        `it answers ${shortId(request)}, which is not a request: zipname is unchanged`,
      );
    this.compareVouches(receipt, answer, findings);
    if (receipt.signedByOwner) this.compareRepetition(receipt, answer, findings);
    else this.note(request, null);
    return findings.problems;
  }

  isAnswered(request: string): boolean {
    return this.answers.has(request);
  }

  /** The requests that no receipt answers, oldest first. */
  unanswered(): string[] {
    return [...this.commits].filter(([id, asks]) => asks && !this.isAnswered(id)).map(([id]) => id);
  }

  private note(request: string, receipt: string | null): void {
    this.answers.set(request, this.answers.get(request) ?? receipt);
  }

  /** Each vouch that a receipt counts has to be on its branch, and each person counts once. */
  private compareVouches(
    { requested, requesterNames }: JudgedReceipt,
    { vouchedBy, askedBy }: AuditedAnswer,
    findings: Findings,
  ): void {
    const requester = askedBy && {
      fingerprint: askedBy.key,
      names: [askedBy.principal, ...requesterNames],
    };
    for (const [i, vouch] of vouchedBy.entries()) {
      findings.check(() => this.vouches.require(vouch, { files: requested }, requester));
      if (vouchedBy.slice(0, i).some((each) => this.vouches.repeats(each, vouch)))
        findings.add('vouch-repeated', `it counts ${vouch.signer} twice`);
    }
  }

  /** A request is answered once; only after a failure may it be answered again. */
  private compareRepetition({ identity }: JudgedReceipt, answer: AuditedAnswer, findings: Findings): void {
    const { request, receipt, claimed } = answer;
    if (identity !== null) this.compareForms(identity.slice(0, 32), answer, findings);
    else if (answer.repeats)
      findings.add(
        'receipt-repeats-other',
        `it says that ${shortId(request)} repeats ${shortId(answer.repeats.request)}, and has no valid signature by which they could be compared`,
      );
    const earlier = this.answers.get(request);
    if (typeof earlier === 'string')
      findings.add(
        'request-answered-twice',
        `it answers ${shortId(request)}, which ${shortId(earlier)} answered before`,
      );
    this.note(request, claimed === 'failed' ? null : receipt);
  }

  /** One signed payload is one request under any number of commit ids: after the first answer, others only repeat it. */
  private compareForms(identity: string, { request, repeats }: AuditedAnswer, findings: Findings): void {
    const first = this.firsts.get(identity);
    if (first === undefined) this.firsts.set(identity, request);
    if (repeats && repeats.request !== (first ?? repeats.request))
      findings.add(
        'receipt-repeats-other',
        `it says that ${shortId(request)} repeats ${shortId(repeats.request)}, and it is ${shortId(first ?? '')} in another form`,
      );
    if (repeats || first === undefined || first === request) return;
    findings.add(
      'request-answered-twice',
      `it answers ${shortId(request)}, which is ${shortId(first)} in another form: the same text, signed by the same key, and answered before`,
    );
  }
}
