import { Semaphore } from '../../../lib/concurrency/semaphore.ts';
import { AllowedSigners } from '../../../lib/sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../../../lib/git/commit-signature.ts';
import { answeredRequests, receiptsSince } from '../../../protocol/control/receipt-history.ts';
import {
  appendPolicy,
  appendReceipts,
  openReceipts,
  type NewReceipt,
  type ReceiptWriter,
} from '../../../protocol/control/write-receipt.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import { policyBytes, readPolicyBytes } from '../../../protocol/control/published-policy.ts';
import { unavailable, type SignpipeError } from '../../../lib/errors.ts';
import { publicKeyLine } from '../../../lib/sshsig/ssh-key.ts';
import { policyWithRoots } from '../channel/public-policy.ts';
import type { AnsweredRecord } from '../state/journal.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** How often a push is tried if another writer pushes at the same time. */
const MOST_RACES = 10;

const race = (): SignpipeError =>
  unavailable('receipt-race', 'the receipt branch moves faster than receipts can be appended', {
    hint: 'is another signer writing to it?',
  });

/** A final answer, which has to be pushed, and what its commit contains; see `NewReceipt`. */
export interface FinalAnswer {
  readonly record: AnsweredRecord;
  readonly signatures: ReadonlyMap<string, Buffer>;
  readonly attachments: ReadonlyMap<string, Buffer>;
}

const asReceipt = ({
  record: { receipt },
  signatures,
  attachments,
}: FinalAnswer): Omit<NewReceipt, 'parent'> => ({
  receipt,
  signatures,
  attachments,
  at: new Date(receipt.times.answered),
});

/** The receipt branch, which only this signer writes: judges what is on it and appends to it. */
export class ReceiptBranch {
  private readonly own: AllowedSigners;
  private readonly conversation = new Semaphore(1);

  constructor(
    private readonly context: Pick<
      SignerContext,
      'repository' | 'writer' | 'acceptedHeads' | 'origin' | 'config' | 'log' | 'now'
    >,
  ) {
    const line = publicKeyLine(context.writer.signer.publicKey);
    this.own = AllowedSigners.parse(`signer ${line}\n`, 'receipts.key');
  }

  /** The writer with the current policy, to which the pinned roots belong. */
  private get writer(): ReceiptWriter {
    const { writer, origin } = this.context;
    const { policy } = writer;
    const { roots } = origin;
    return policy ? { ...writer, policy: policyWithRoots(policy, roots) } : writer;
  }

  /**
   * Runs a task that asks the Git host for heads, or pushes, and records what it accepted. One at a time: otherwise the
   * heads that one of them judged would be accepted after those that another one pushed.
   */
  exclusively<T>(task: () => Promise<T>): Promise<T> {
    return this.conversation.run(task);
  }

  /** Fetches the heads and judges them: history may only have grown, and receipts must be ours; throws alarms. */
  async judgedHeads(): Promise<{ heads: Heads; first: boolean; changed: boolean }> {
    const { repository, acceptedHeads, config } = this.context;
    const heads = await repository.fetch();
    const checkReceipt = async (id: string): Promise<void> => {
      verifyCommitSignature((await repository.readCommit(id)).raw, this.own);
    };
    return {
      heads,
      ...(await acceptedHeads.judge(repository, heads, { checkReceipt, config: config.file })),
    };
  }

  /** Whether the fetched branch has a receipt for a request. */
  async answers(request: string): Promise<boolean> {
    const { repository } = this.context;
    const { receipts } = await repository.heads();
    return receipts !== null && (await answeredRequests(repository, receipts)).has(request);
  }

  /**
   * Appends receipts to the branch, in one push and in their order, except those that are there already: a push may
   * have succeeded without our knowing. Returns their commits, by request.
   */
  async push(answers: readonly FinalAnswer[]): Promise<ReadonlyMap<string, string>> {
    const { repository, log } = this.context;
    for (let tries = 0; tries < MOST_RACES; tries += 1) {
      const parent = await this.tip();
      const pushed = await this.pushedSince(parent, answers);
      const missing = answers.filter(({ record }) => !pushed.has(record.request));
      if (missing.length === 0) return pushed;
      const { result, ids } = await appendReceipts(repository, this.writer, parent, missing.map(asReceipt));
      if (result === 'pushed')
        return new Map([
          ...pushed,
          ...missing.map(({ record }, at): [string, string] => [record.request, ids[at] ?? '']),
        ]);
      log.info('the receipt branch has moved on: appending to its new tip');
    }
    throw race();
  }

  /** The receipts of these requests that have come to the branch since they were final. */
  private async pushedSince(
    tip: string,
    answers: readonly FinalAnswer[],
  ): Promise<ReadonlyMap<string, string>> {
    const wanted = new Set(answers.map(({ record }) => record.request));
    const pushed = new Map<string, string>();
    for (const since of new Set(answers.map(({ record }) => record.since)))
      for (const { id, request } of await receiptsSince(this.context.repository, tip, since))
        if (request !== null && wanted.has(request)) pushed.set(request, id);
    return pushed;
  }

  /**
   * Publishes this signer's current policy unless the branch's tip has it, beginning the branch if necessary. Returns
   * the heads after that.
   */
  async publishPolicy(heads: Heads): Promise<Heads> {
    const { writer } = this;
    const { repository, log, now } = this.context;
    if (heads.receipts !== null && (await this.hasPolicy(heads.receipts))) return heads;
    for (let tries = 0; tries < MOST_RACES; tries += 1) {
      const parent = await this.tip();
      const published = await this.hasPolicy(parent);
      const isPublished =
        published || (await appendPolicy(repository, writer, { parent, at: now() })).result === 'pushed';
      if (!isPublished) continue;
      if (!published) log.info('published the policy as it is configured now');
      const { receipts } = await repository.heads();
      return { ...heads, receipts };
    }
    throw race();
  }

  private async hasPolicy(tip: string): Promise<boolean> {
    const { policy } = this.writer;
    const { repository } = this.context;
    const published = await readPolicyBytes(repository, await repository.readCommit(tip)).catch(() => null);
    return policy === undefined || (published?.equals(policyBytes(policy)) ?? false);
  }

  /** The branch's current tip, beginning the branch if necessary. */
  private async tip(): Promise<string> {
    const { repository, now } = this.context;
    const { heads } = await this.judgedHeads();
    if (heads.receipts !== null) return heads.receipts;
    const { result, id } = await openReceipts(repository, this.writer, now());
    return result === 'pushed' ? id : this.tip();
  }
}
