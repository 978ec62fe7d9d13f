import { access, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { shortId } from '../../../lib/git/objects.ts';
import { attachmentsOf, signatureName, type Receipt } from '../../../protocol/control/receipt-schema.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { deliverFile } from '../files/deliver.ts';
import type { Delivery } from '../files/delivery-content.ts';
import { errorToAnswer, logAnswer } from './error-to-answer.ts';
import type { JournaledOutput, JournalRecord } from '../state/journal.ts';
import { undeliveredOf } from './receipt-draft.ts';
import type { ReceiptBranch, ReceiptContent } from './receipt-branch.ts';
import { attachmentStore, pickBlobs, signatureStore } from '../state/blob-store.ts';
import type { SignerContext } from '../context/signer-context.ts';

/** The later of now and the request's time: no receipt is older than its request, even if clocks differ. */
const answeredAt = ({ request }: Receipt, now: Date): string =>
  new Date(Math.max(now.getTime(), new Date(request.requestedAt).getTime())).toISOString();

/** The files in the work folder that an output is delivered from. */
function filesOf(output: JournaledOutput): string[] {
  if (output.mode === 'attachment') return [];
  if (output.mode === 'file') return [output.file];
  const newBytes = output.newBytes.file === undefined ? [] : [output.newBytes.file];
  return output.mode === 'delta' ? [output.unsigned.file, ...newBytes] : newBytes;
}

/** Takes a request from its journal record to the pushed receipt, also after a crash. */
export class RequestCompletion {
  /** Whether the work folder is known to be empty. */
  private workEmpty = false;

  constructor(
    private readonly context: SignerContext,
    private readonly branch: ReceiptBranch,
  ) {}

  /** Records a request as begun and returns its work folder, which may not exist yet. */
  async begin(request: string): Promise<string> {
    this.workEmpty = false;
    await this.context.journal.write({ version: 2, request, stage: 'begun' });
    return this.folder(request);
  }

  /** Whether a request has come so far that beginning another would lose its answer. */
  async isInHand(): Promise<boolean> {
    const record = await this.context.journal.read();
    return record !== null && record.stage !== 'begun';
  }

  /** Finishes the request that a crash, or a Git host that was down, left unfinished; returns its id if it is answered now. */
  async resume(): Promise<string | null> {
    const { journal, log } = this.context;
    const record = await journal.read();
    if (!record) {
      if (!this.workEmpty) await this.emptyWork();
      return null;
    }
    const { request, stage } = record;
    log.info({ request, stage }, `taking up request ${shortId(request)}, left at "${stage}"`);
    if (stage === 'answered') {
      await this.push(record.receipt, record.since);
      return request;
    }
    if (stage === 'signed' && (await this.branch.answers(request))) {
      // The state folder was restored from a back-up: what this request delivered may have been replaced since.
      log.info({ request }, `request ${shortId(request)} has its receipt already`);
      await this.context.outages.forget(request);
      await this.clear();
      return request;
    }
    if (stage === 'begun' || !(await this.isComplete(record))) {
      await this.clear();
      return null;
    }
    // After a crash nothing is in memory.
    const { receipt, outputs } = record;
    await this.conclude(
      await this.deliver({ receipt, folder: this.folder(request), newBytes: new Map() }, outputs),
    );
    return request;
  }

  /** Delivers what was signed. A failure to deliver becomes the answer, whatever its cause; only an alarm is thrown. */
  async deliver(delivery: Delivery, outputs: readonly JournaledOutput[]): Promise<Receipt> {
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

  /** Records the final receipt, so that after a crash only this one can be pushed, and pushes it. */
  async conclude(draft: Receipt): Promise<void> {
    const { journal, acceptedHeads, now } = this.context;
    const receipt = { ...draft, times: { ...draft.times, answered: answeredAt(draft, now()) } };
    const since = acceptedHeads.heads?.receipts ?? null;
    await journal.write({ version: 2, request: receipt.request.id, stage: 'answered', receipt, since });
    await this.push(receipt, since);
  }

  private async push(receipt: Receipt, since: string | null): Promise<void> {
    const { repository, acceptedHeads, log, now } = this.context;
    const { request, outcome } = receipt;
    await this.context.outages.forget(request.id);
    const commit = await this.branch.push(receipt, since, () => this.contentOf(receipt));
    const heads = await repository.heads();
    await acceptedHeads.accept(
      { requests: acceptedHeads.heads?.requests ?? heads.requests, receipts: heads.receipts },
      { at: now() },
    );
    await this.clear();
    log.info(
      { request: request.id, outcome, receipt: commit },
      `answered ${shortId(request.id)}: ${outcome}`,
    );
    this.context.activity.answered(receipt);
  }

  private async contentOf(receipt: Receipt): Promise<ReceiptContent> {
    const { state } = this.context.config;
    const detached = receipt.files.flatMap((file) => file.signed.map(signatureName));
    const attached = attachmentsOf(receipt).map(({ sha256 }) => sha256);
    return {
      signatures: await pickBlobs(signatureStore(state), detached),
      attachments: await pickBlobs(attachmentStore(state), attached),
    };
  }

  /** Whether every file that a record of stage `signed` names is there; if not, the request is begun again. */
  private async isComplete({
    request,
    outputs,
  }: Extract<JournalRecord, { stage: 'signed' }>): Promise<boolean> {
    const { state } = this.context.config;
    const paths = outputs.flatMap(filesOf).map((file) => join(this.folder(request), file));
    const attached = outputs.some(({ mode }) => mode === 'attachment');
    const stores = [signatureStore(state), ...(attached ? [attachmentStore(state)] : [])];
    const all = [...paths, ...stores.map(({ file }) => file)];
    return (await Promise.allSettled(all.map((path) => access(path)))).every(
      ({ status }) => status === 'fulfilled',
    );
  }

  private folder(request: string): string {
    return join(this.context.work, request);
  }

  /** Forgets the current request. The journal goes first: a crash in between leaves an unneeded folder, not a record without its files. */
  async clear(): Promise<void> {
    await this.context.journal.clear();
    await this.emptyWork();
  }

  /** Without a current request, nothing in the work folder is needed. */
  private async emptyWork(): Promise<void> {
    for (const name of await readdir(this.context.work))
      await rm(join(this.context.work, name), { recursive: true, force: true });
    this.workEmpty = true;
  }
}
