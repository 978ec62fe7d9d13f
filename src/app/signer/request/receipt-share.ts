import { shortId } from '../../../lib/git/objects.ts';
import { attachmentsOf, signatureName, type Receipt } from '../../../protocol/control/receipt-schema.ts';
import { attachmentStore, pickBlobs, signatureStore } from '../state/blob-store.ts';
import type { AnsweredRecord } from '../state/journal.ts';
import type { SignerContext } from '../context/signer-context.ts';
import type { FinalAnswer, ReceiptBranch } from './receipt-branch.ts';

/** The most receipts that share a push. */
const MOST_RECEIPTS = 32;
/** A share with more bytes than this is pushed at once. */
const MOST_BYTES = 1024 * 1024;
/** How long a receipt waits for others at most, in ms. */
const LONGEST_WAIT = 250;

const sizeOf = (answer: FinalAnswer): number =>
  [...answer.signatures.values(), ...answer.attachments.values()].reduce(
    (sum, { length }) => sum + length,
    JSON.stringify(answer.record.receipt).length,
  );

/**
 * Collects the receipts of consecutive requests and pushes them together. The journal holds all of them as `answered`
 * until their push has succeeded.
 */
export class ReceiptShare {
  private answers: FinalAnswer[] = [];
  private bytes = 0;
  private timer: NodeJS.Timeout | undefined;
  /** The pushes so far, one after another. Once one has failed, so have all later ones: none overtakes it. */
  private pushes: Promise<void> = Promise.resolve();
  private failed = false;

  constructor(
    private readonly context: SignerContext,
    private readonly branch: ReceiptBranch,
    /** Called when the receipts of requests are on the branch. */
    private readonly onPushed: (requests: readonly string[]) => void,
  ) {}

  /**
   * Adds a final answer, to be pushed soon. If that makes the share full, this returns when it is pushed. Throws the
   * error of an earlier push.
   */
  async add(record: AnsweredRecord): Promise<void> {
    if (this.failed) await this.pushes;
    const answer = { record, ...(await this.contentOf(record.receipt)) };
    this.answers.push(answer);
    this.bytes += sizeOf(answer);
    if (this.answers.length >= MOST_RECEIPTS || this.bytes >= MOST_BYTES) await this.push();
    else this.timer ??= setTimeout(() => void this.push().catch(() => {}), LONGEST_WAIT);
  }

  /** Pushes what was added, after all earlier pushes. Throws the error of the first push that failed. */
  push(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const answers = this.answers;
    this.answers = [];
    this.bytes = 0;
    this.pushes = this.pushes.then(() => this.pushTogether(answers));
    this.pushes.catch(() => (this.failed = true));
    return this.pushes;
  }

  /** Forgets what could not be pushed; the journal has it. */
  reset(): void {
    this.answers = [];
    this.bytes = 0;
    this.pushes = Promise.resolve();
    this.failed = false;
  }

  private async pushTogether(answers: readonly FinalAnswer[]): Promise<void> {
    if (answers.length === 0) return;
    const { repository, acceptedHeads, journal, log, now } = this.context;
    const commits = await this.branch.exclusively(async () => {
      const pushed = await this.branch.push(answers);
      const heads = await repository.heads();
      await acceptedHeads.accept(
        { requests: acceptedHeads.heads?.requests ?? heads.requests, receipts: heads.receipts },
        { at: now() },
      );
      return pushed;
    });
    const requests = answers.map(({ record: { request } }) => request);
    await journal.remove(requests);
    for (const { record } of answers) {
      const { request, receipt } = record;
      const { outcome } = receipt;
      log.info(
        { request, outcome, receipt: commits.get(request) },
        `answered ${shortId(request)}: ${outcome}`,
      );
      this.context.activity.answered(receipt);
    }
    this.onPushed(requests);
  }

  private async contentOf(receipt: Receipt): Promise<Omit<FinalAnswer, 'record'>> {
    const { state } = this.context.config;
    const { id } = receipt.request;
    const detached = receipt.files.flatMap((file) => file.signed.map(signatureName));
    const attached = attachmentsOf(receipt).map(({ sha256 }) => sha256);
    return {
      signatures: await pickBlobs(signatureStore(state, id), detached),
      attachments: await pickBlobs(attachmentStore(state, id), attached),
    };
  }
}
