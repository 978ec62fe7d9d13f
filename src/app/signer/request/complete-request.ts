import { access, readdir, rm } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { claimedIdentity } from '../../../lib/git/commit-signature.ts';
import { shortId } from '../../../lib/git/objects.ts';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { Request } from '../../../protocol/control/request.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { deliverFile, outgoing } from '../files/deliver.ts';
import type { Delivery } from '../files/delivery-content.ts';
import { incoming } from '../files/fetch.ts';
import { errorToAnswer, logAnswer } from './error-to-answer.ts';
import type { AnsweredRecord, JournaledOutput, JournalRecord, SignedRecord } from '../state/journal.ts';
import { undeliveredOf } from './receipt-draft.ts';
import type { ReceiptBranch } from './receipt-branch.ts';
import { ReceiptShare } from './receipt-share.ts';
import { attachmentStore, signatureStore } from '../state/blob-store.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** A request whose files are signed. */
export interface SignedRequest {
  readonly delivery: Delivery;
  readonly outputs: readonly JournaledOutput[];
}

/** A request whose files are signed, or that has its final answer; the journal says so. */
type FinishedRequest = SignedRequest | AnsweredRecord;

/** The later of now and the request's time: no receipt is older than its request, even if clocks differ. */
const answeredAt = ({ request }: Receipt, now: Date): string =>
  new Date(Math.max(now.getTime(), new Date(request.requestedAt).getTime())).toISOString();

/** A path on the exchange, for comparison: its disk may ignore case. */
const comparable = (path: string): string => posix.normalize(path).toLowerCase();

/** The files in the work folder that an output is delivered from. */
function filesOf(output: JournaledOutput): string[] {
  if (output.mode === 'attachment') return [];
  if (output.mode === 'file') return [output.file];
  const newBytes = output.newBytes.file === undefined ? [] : [output.newBytes.file];
  return output.mode === 'delta' ? [output.unsigned.file, ...newBytes] : newBytes;
}

/**
 * The second stage of a request: from its signed files to the pushed receipt, also after a crash. One request is
 * delivered at a time, in order, while the first stage works on the next; so at most two have files on the disk.
 */
export class RequestCompletion {
  private readonly share: ReceiptShare;
  /** The request that is being delivered, or the last one; rejected for good if it failed. */
  private current: Promise<void> = Promise.resolve();
  private failed = false;
  /** The paths on the exchange that are being written. */
  private delivering: ReadonlySet<string> = new Set();
  /** The requests that have no receipt on the branch yet, with the identities that they claim. */
  private readonly inHand = new Map<string, string | null>();
  /** Whether the work folder is known to have no files of earlier runs. */
  private workEmpty = false;

  constructor(
    private readonly context: SignerContext,
    private readonly branch: ReceiptBranch,
    onAnswered: (requests: readonly string[]) => void,
  ) {
    this.share = new ReceiptShare(context, branch, (requests) => {
      for (const request of requests) this.inHand.delete(request);
      onAnswered(requests);
    });
  }

  /** Whether a request could not be completed: then no other may be begun before `resume`. */
  get isBroken(): boolean {
    return this.failed;
  }

  /** Records a request as begun and returns its work folder, which may not exist yet. */
  async begin(request: string): Promise<string> {
    await this.context.journal.write({ request, stage: 'begun' });
    return this.folder(request);
  }

  /** Forgets a request that is to be begun again. The journal goes first: a crash in between leaves an unneeded folder. */
  async forget(request: string): Promise<void> {
    await this.context.journal.remove([request]);
    await this.removeFiles(request);
  }

  /** Records the final receipt, so that after a crash only this one can be pushed. */
  async conclude(draft: Receipt): Promise<AnsweredRecord> {
    const { journal, acceptedHeads, now } = this.context;
    const receipt = { ...draft, times: { ...draft.times, answered: answeredAt(draft, now()) } };
    const since = acceptedHeads.heads?.receipts ?? null;
    const record: AnsweredRecord = { request: receipt.request.id, stage: 'answered', receipt, since };
    await journal.write(record);
    await this.removeFiles(record.request);
    return record;
  }

  /**
   * Takes over a request, as soon as the one before it is delivered, and completes it while the caller goes on. Throws
   * what kept an earlier request from being completed.
   */
  async take({ id, raw }: Request, finished: FinishedRequest): Promise<void> {
    await this.current;
    await this.context.outages.forget(id);
    this.inHand.set(id, claimedIdentity(raw));
    this.current = this.complete(finished).catch((error: unknown) => {
      this.failed = true;
      throw error;
    });
    // It is thrown by the next call that waits for it.
    this.current.catch(() => {});
  }

  /** Completes every request that was taken over. Throws the first error, when nothing is under way any more. */
  async drain(): Promise<void> {
    const results = [await settled(this.current), await settled(this.share.push())];
    for (const result of results)
      if (result.status === 'rejected') {
        this.failed = true;
        throw result.reason;
      }
  }

  /**
   * Waits for what a request has to see: the receipt of a request in hand that claims the same identity, and signed
   * files that replace its own.
   */
  async settleFor({ raw, files }: Request): Promise<void> {
    const identity = claimedIdentity(raw);
    if (identity !== null && [...this.inHand.values()].includes(identity)) await this.drain();
    if (files.some(({ name }) => this.delivering.has(comparable(incoming(this.context, name)))))
      await this.current;
  }

  /**
   * Completes the requests that a crash, or a Git host that was down, left unfinished; returns whether there were any.
   * Called after history was judged.
   */
  async resume(): Promise<boolean> {
    this.share.reset();
    this.current = Promise.resolve();
    this.failed = false;
    this.delivering = new Set();
    this.inHand.clear();
    const records = await this.context.journal.read();
    for (const record of records) await this.takeUp(record);
    await this.share.push();
    if (!this.workEmpty) await this.emptyWork();
    return records.length > 0;
  }

  private async takeUp(record: JournalRecord): Promise<void> {
    const { log, outages } = this.context;
    const { request, stage } = record;
    log.info({ request, stage }, `taking up request ${shortId(request)}, left at "${stage}"`);
    if (stage === 'begun') {
      await this.forget(request);
      return;
    }
    await outages.forget(request);
    if (stage === 'answered') {
      await this.removeFiles(request);
      await this.share.add(record);
    } else if (await this.branch.answers(request)) {
      // The state folder was restored from a back-up: what this request delivered may have been replaced since.
      log.info({ request }, `request ${shortId(request)} has its receipt already`);
      await this.forget(request);
    } else if (await this.isComplete(record)) {
      const { receipt, outputs } = record;
      // After a crash nothing is in memory.
      const delivery = { receipt, folder: this.folder(request), newBytes: new Map<string, Buffer>() };
      await this.complete({ delivery, outputs });
    } else await this.forget(request);
  }

  /** Delivers what was signed, and leaves the final receipt to be pushed. */
  private async complete(finished: FinishedRequest): Promise<void> {
    const record = 'stage' in finished ? finished : await this.delivered(finished);
    this.context.activity.ended(record.request);
    await this.share.add(record);
  }

  private async delivered({ delivery, outputs }: SignedRequest): Promise<AnsweredRecord> {
    this.delivering = new Set(outputs.map((output) => comparable(outgoing(this.context, output))));
    try {
      return await this.conclude(await this.deliver(delivery, outputs));
    } finally {
      this.delivering = new Set();
      this.context.activity.ended(delivery.receipt.request.id);
    }
  }

  /** Delivers what was signed. A failure to deliver becomes the answer, whatever its cause; only an alarm is thrown. */
  private async deliver(delivery: Delivery, outputs: readonly JournaledOutput[]): Promise<Receipt> {
    const { context } = this;
    const { receipt } = delivery;
    const delivered: string[] = [];
    try {
      for (const output of outputs) {
        await deliverFile(context, output, delivery);
        delivered.push(output.name);
      }
      return { ...receipt, times: { ...receipt.times, delivered: context.now().toISOString() } };
    } catch (error) {
      const isUsage = error instanceof SignpipeError && error.kind === 'usage';
      const answer = isUsage ? error : errorToAnswer(error);
      if (!answer) throw error;
      return undeliveredOf(
        receipt,
        delivered,
        logAnswer(context, 'not delivered', receipt.request.id, answer),
      );
    }
  }

  /** Whether every file that a record names is there; if not, the request is begun again. */
  private async isComplete({ request, outputs }: SignedRecord): Promise<boolean> {
    const { state } = this.context.config;
    const paths = outputs.flatMap(filesOf).map((file) => join(this.folder(request), file));
    const attached = outputs.some(({ mode }) => mode === 'attachment');
    const stores = [signatureStore(state, request), ...(attached ? [attachmentStore(state, request)] : [])];
    const all = [...paths, ...stores.map(({ file }) => file)];
    return (await Promise.allSettled(all.map((path) => access(path)))).every(
      ({ status }) => status === 'fulfilled',
    );
  }

  private folder(request: string): string {
    return join(this.context.work, request);
  }

  private removeFiles(request: string): Promise<void> {
    return rm(this.folder(request), { recursive: true, force: true });
  }

  /** Without a request in hand, nothing in the work folder is needed. */
  private async emptyWork(): Promise<void> {
    for (const name of await readdir(this.context.work))
      await rm(join(this.context.work, name), { recursive: true, force: true });
    this.workEmpty = true;
  }
}

const settled = async (work: Promise<void>): Promise<PromiseSettledResult<void>> =>
  (await Promise.allSettled([work]))[0];
