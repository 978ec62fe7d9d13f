import { AllowedSigners } from '../../lib/sshsig/allowed-signers.ts';
import { verifyCommitSignature } from '../../lib/git/commit-signature.ts';
import {
  answeredRequests,
  appendPolicy,
  appendReceipt,
  openReceipts,
  receiptsSince,
  type Receipt,
  type ReceiptWriter,
} from '../../protocol/control/receipt.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { policyBytes, readPolicyBytes } from '../../protocol/control/published-policy.ts';
import { unavailable, type SignpipeError } from '../../lib/errors.ts';
import { publicKeyLine } from '../../lib/sshsig/ssh-key.ts';
import type { SignerContext } from './signer-context.ts';

/** Tries against others who push at the same moment. */
const MOST_RACES = 10;

const race = (): SignpipeError =>
  unavailable('receipt-race', 'the receipt branch moves faster than receipts can be appended', {
    hint: 'is another signer writing to it?',
  });

/** The branch that this signer alone writes: judges what is on it, and appends to it. */
export class ReceiptBranch {
  private readonly own: AllowedSigners;

  constructor(
    private readonly context: Pick<
      SignerContext,
      'repository' | 'writer' | 'acceptedHeads' | 'origin' | 'config' | 'log' | 'now'
    >,
  ) {
    const line = publicKeyLine(context.writer.signer.publicKey);
    this.own = AllowedSigners.parse(`signer ${line}\n`, 'receipts.key');
  }

  /** With the policy as it is now: the pinned roots belong to it. */
  private get writer(): ReceiptWriter {
    const { writer, origin } = this.context;
    const { policy } = writer;
    const { roots } = origin;
    return policy && roots.length > 0 ? { ...writer, policy: { ...policy, roots: [...roots] } } : writer;
  }

  /** The remote's heads, which must only have grown, and by our own receipts; throws alarms. */
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

  /** Whether a request has its receipt, as far as the branch was fetched. */
  async answers(request: string): Promise<boolean> {
    const { repository } = this.context;
    const { receipts } = await repository.heads();
    return receipts !== null && (await answeredRequests(repository, receipts)).has(request);
  }

  /**
   * Appends a receipt to the branch as it stands, or finds that it is there: a push may have been
   * accepted though we never heard so. `since` is the branch's tip before the receipt was first
   * pushed; returns the receipt's commit.
   */
  async push(
    receipt: Receipt,
    since: string | null,
    signatures: () => Promise<Map<string, Buffer>>,
  ): Promise<string> {
    const { writer } = this;
    const { repository, log } = this.context;
    const at = new Date(receipt.times.answered);
    for (let tries = 0; tries < MOST_RACES; tries += 1) {
      const parent = await this.tip();
      const steps = await receiptsSince(repository, parent, since);
      const there = steps.find((step) => step.request === receipt.request.id);
      if (there) return there.id;
      const { result, id } = await appendReceipt(repository, writer, {
        parent,
        receipt,
        signatures: await signatures(),
        at,
      });
      if (result === 'pushed') return id;
      log.info('the receipt branch has moved on: appending to its new tip');
    }
    throw race();
  }

  /**
   * Sees to it that the branch's tip tells this signer's policy as it is configured now; the branch is begun if
   * need be. Returns the heads as they are then.
   */
  async publishPolicy(heads: Heads): Promise<Heads> {
    const { writer } = this;
    const { repository, log, now } = this.context;
    if (heads.receipts !== null && (await this.tellsPolicy(heads.receipts))) return heads;
    for (let tries = 0; tries < MOST_RACES; tries += 1) {
      const parent = await this.tip();
      const told = await this.tellsPolicy(parent);
      const done =
        told || (await appendPolicy(repository, writer, { parent, at: now() })).result === 'pushed';
      if (!done) continue;
      if (!told) log.info('published the policy as it is configured now');
      const { receipts } = await repository.heads();
      return { ...heads, receipts };
    }
    throw race();
  }

  private async tellsPolicy(tip: string): Promise<boolean> {
    const { policy } = this.writer;
    const { repository } = this.context;
    const published = await readPolicyBytes(repository, await repository.readCommit(tip)).catch(() => null);
    return policy === undefined || (published?.equals(policyBytes(policy)) ?? false);
  }

  /** The branch's tip now; the branch is begun if need be. */
  private async tip(): Promise<string> {
    const { repository, now } = this.context;
    const { heads } = await this.judgedHeads();
    if (heads.receipts !== null) return heads.receipts;
    const { result, id } = await openReceipts(repository, this.writer, now());
    return result === 'pushed' ? id : this.tip();
  }
}
