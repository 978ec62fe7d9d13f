import { access, mkdir, readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { shortId } from '../../lib/git/objects.ts';
import type { Receipt } from '../../protocol/control/receipt.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import type { Request } from '../../protocol/control/request.ts';
import { SignpipeError } from '../../lib/errors.ts';
import { requireUsable } from '../../engine/keys/signing-key.ts';
import type { AnsweredRequests } from './answered-requests.ts';
import { errorToAnswer, faultBelow, withoutFolders } from './error-to-answer.ts';
import type { Channel } from './channel.ts';
import { deliverFile } from './deliver.ts';
import type { Delivery } from './delivery-content.ts';
import {
  certificateOf,
  newDraft,
  receiptOf,
  refusalOf,
  requireValidReceipt,
  undeliveredOf,
  type ReceiptDraft,
} from './receipt-draft.ts';
import type { UnmetPrecondition } from './unmet-precondition.ts';
import { checkDate, checkPreconditions } from './preconditions.ts';
import { checkBeforeKeyUse, keyWithCheck, UnmetPreconditionError, HeadsUnknown } from './before-key-use.ts';
import type { JournaledOutput, JournalRecord } from './journal.ts';
import { closeFiles, fetchFiles, type FetchedFile } from './fetch.ts';
import { channelOf, judge, repeated, requesterIfProven, requireOurs } from './policy.ts';
import { rehearseDelivery } from './rehearse-delivery.ts';
import type { ReceiptBranch } from './receipt-branch.ts';
import { readSignatures, signatureOf, signaturesFile } from './signature-store.ts';
import { signFiles, type SignedRequest } from './sign-request.ts';
import type { SignerContext } from './signer-context.ts';

/** What became of a request at this poll. */
export type Answer =
  | { readonly state: 'answered'; readonly outcome: Receipt['outcome'] }
  | { readonly state: 'waiting'; readonly why: string; readonly code?: string | undefined };

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** The later of now and the request's time: no receipt is older than its request, even if clocks differ. */
const answeredAt = ({ request }: Receipt, now: Date): string =>
  new Date(Math.max(now.getTime(), new Date(request.requestedAt).getTime())).toISOString();

/** Carries requests, one at a time, from the commit to the pushed receipt; takes up what a crash left. */
export class RequestHandler {
  /** Whether the work folder is known to be empty. */
  private swept = false;

  constructor(
    private readonly context: SignerContext,
    private readonly branch: ReceiptBranch,
    private readonly answered: AnsweredRequests,
    /** Where the branches stand now, once their history was judged. */
    private readonly headsNow: () => Promise<Heads>,
  ) {}

  /**
   * Answers one request, or says what it waits for. Throws only what is no fault of the request;
   * `isInHand` then tells whether others must wait until it is finished.
   */
  async answer(request: Request, heads: Heads, seen: Date): Promise<Answer> {
    const receipt = await this.receiptFor(request, heads, seen);
    if ('why' in receipt) return { state: 'waiting', why: receipt.why, code: receipt.code };
    // From here on nothing may be taken for a fault of the request: the answer stands, and must get out.
    await this.conclude(receipt);
    return { state: 'answered', outcome: receipt.outcome };
  }

  /** Whether a request has come so far that beginning another would lose its answer. */
  async isInHand(): Promise<boolean> {
    const record = await this.context.journal.read();
    return record !== null && record.stage !== 'begun';
  }

  /** Finishes what a crash, or a Git host that was down, left in hand; returns the request that is answered now. */
  async resume(): Promise<string | null> {
    const { journal, log } = this.context;
    const record = await journal.read();
    if (!record) {
      if (!this.swept) await this.sweep();
      return null;
    }
    log.info(
      { request: record.request, stage: record.stage },
      `taking up request ${shortId(record.request)}, left at "${record.stage}"`,
    );
    if (record.stage === 'signed' && (await this.branch.answers(record.request))) {
      // The state folder was put back from a back-up: what this request delivered may have been replaced since.
      log.info({ request: record.request }, `request ${shortId(record.request)} has its receipt already`);
      await this.context.timestampOutages.forget(record.request);
      await this.clear();
      return record.request;
    }
    if (record.stage === 'begun' || !record.receipt || !(await this.isWhole(record))) {
      await this.clear();
      return null;
    }
    if (record.stage === 'signed')
      await this.conclude(await this.deliverAgain(record.receipt, record.outputs));
    else await this.push(record.receipt, record.since ?? null);
    return record.request;
  }

  /** The receipt that settles a request, its files delivered; or what the request waits for. */
  private async receiptFor(request: Request, heads: Heads, seen: Date): Promise<Receipt | UnmetPrecondition> {
    const { context } = this;
    const early = checkDate(request, context.now());
    if (early) return early;
    const { receipts } = await context.repository.heads();
    const repeats = await this.answered.find(request.raw, receipts);
    let draft = { ...newDraft(request, seen, context.writer), ...(repeats && { repeats }) };
    try {
      if (repeats) {
        draft = { ...draft, requester: requesterIfProven(request, context.channels, context.now()) };
        throw repeated(request, repeats);
      }
      requireOurs(request, context.origin);
      const channel = channelOf(request, context.channels);
      draft = { ...draft, channel };
      const requester = judge(request, channel, context.now());
      draft = { ...draft, requester };
      const gate = await checkPreconditions(context, channel, request, requester, heads, seen);
      if (!gate.open) return gate;
      draft = { ...draft, vouches: gate.vouches };
      const wait = await context.timestampOutages.before(request.id, channel);
      if (wait) return wait;
      return await this.sign(draft, channel, seen);
    } catch (error) {
      if (error instanceof UnmetPreconditionError || error instanceof HeadsUnknown) await this.clear();
      if (error instanceof UnmetPreconditionError) return error.unmet;
      if (error instanceof HeadsUnknown) throw error.cause;
      const wait = await context.timestampOutages.after(error, request.id, draft.channel ?? undefined);
      const answer = errorToAnswer(error);
      if (wait || !answer) {
        if (!(await this.isInHand())) await this.clear();
        if (wait) return wait;
        throw error;
      }
      this.tell('refused', request.id, answer);
      return refusalOf(draft, this.discreet(answer));
    }
  }

  private discreet(error: SignpipeError): SignpipeError {
    const { state, file } = this.context.config;
    return withoutFolders(error, [state, dirname(resolve(file))]);
  }

  private tell(what: string, request: string, error: SignpipeError): void {
    const err = faultBelow(error);
    const fields = { request, code: error.code, hint: error.hint, ...(err ? { err } : {}) };
    this.context.log[error.kind === 'local' ? 'error' : 'warn'](fields, `${what}: ${error.message}`);
  }

  private async sign(draft: ReceiptDraft, channel: Channel, seen: Date): Promise<Receipt> {
    const { context } = this;
    const { id, files } = draft.request;
    requireUsable(channel.key, context.now());
    const folder = this.folder(id);
    this.swept = false;
    await context.journal.write({ version: 1, request: id, stage: 'begun', outputs: [] });
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const rehearsal = rehearseDelivery(context, draft.request);
    rehearsal.catch(() => {}); // Its failure is reported once the files are there.
    const fetched = await fetchFiles(context, files, folder).catch(async (error: unknown) => {
      await rehearsal.catch(() => {});
      throw error;
    });
    const fetchedAt = context.now().toISOString();
    let { vouches } = draft;
    const key = keyWithCheck(channel.key, async () => {
      vouches = await checkBeforeKeyUse(context, { request: draft.request, channel, seen }, this.headsNow);
    });
    const made = await this.signFetched({ ...channel, key }, fetched, {
      request: id,
      folder,
      rehearsal,
    });
    const times = { ...draft.times, fetched: fetchedAt, signed: context.now().toISOString() };
    const receipt = receiptOf({ ...draft, vouches, times }, 'signed', {
      ...certificateOf(channel),
      files: made.files,
      zlib: process.versions.zlib,
    });
    requireValidReceipt(receipt);
    await context.journal.write({ version: 1, request: id, stage: 'signed', receipt, outputs: made.outputs });
    return this.deliver({ receipt, folder, fresh: made.fresh }, made.outputs);
  }

  private async signFetched(
    channel: Channel,
    fetched: readonly FetchedFile[],
    place: { readonly request: string; readonly folder: string; readonly rehearsal: Promise<void> },
  ): Promise<SignedRequest> {
    try {
      await place.rehearsal;
      return await signFiles(this.context, channel, fetched, place);
    } finally {
      await closeFiles(fetched);
    }
  }

  /**
   * Delivers what was signed. That it cannot be delivered is an answer too,
   * whatever keeps it from it; only an alarm stops everything.
   */
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
      const usable = error instanceof SignpipeError && error.kind === 'usage';
      const answer = usable ? error : errorToAnswer(error);
      if (!answer) throw error;
      this.tell('not delivered', receipt.request.id, answer);
      return undeliveredOf(receipt, delivered, this.discreet(answer));
    }
  }

  /** The same after a crash: what was in memory is gone. */
  private deliverAgain(receipt: Receipt, outputs: readonly JournaledOutput[]): Promise<Receipt> {
    return this.deliver({ receipt, folder: this.folder(receipt.request.id), fresh: new Map() }, outputs);
  }

  /** Settles the receipt on disk, so that a crash from here on can only push this one, and pushes it. */
  private async conclude(draft: Receipt): Promise<void> {
    const { journal, acceptedHeads, now } = this.context;
    const receipt = { ...draft, times: { ...draft.times, answered: answeredAt(draft, now()) } };
    const since = acceptedHeads.heads?.receipts ?? null;
    await journal.write({
      version: 1,
      request: receipt.request.id,
      stage: 'answered',
      receipt,
      since,
      outputs: [],
    });
    await this.push(receipt, since);
  }

  private async push(receipt: Receipt, since: string | null): Promise<void> {
    const { repository, acceptedHeads, log, now } = this.context;
    const { request, outcome } = receipt;
    await this.context.timestampOutages.forget(request.id);
    const commit = await this.branch.push(receipt, since, () => this.signaturesOf(receipt));
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
  }

  private async signaturesOf(receipt: Receipt): Promise<Map<string, Buffer>> {
    const programs = receipt.files.flatMap((file) => file.signed);
    const made = programs.length > 0 ? await readSignatures(this.context.config.state) : new Map();
    return new Map(programs.map(({ before: { sha256 } }) => [sha256, signatureOf(made, sha256)]));
  }

  /**
   * Whether all is there that a record of stage `signed` speaks of; if not, nothing of
   * it can be finished, and it is begun again.
   */
  private async isWhole({ stage, request, outputs }: JournalRecord): Promise<boolean> {
    if (stage !== 'signed') return true;
    const folder = this.folder(request);
    const files = outputs
      .flatMap(({ file, assembly }) => [file, assembly?.whole?.unsigned])
      .filter((file) => file !== undefined);
    const paths = [...files.map((file) => join(folder, file)), signaturesFile(this.context.config.state)];
    return (await Promise.all(paths.map(exists))).every(Boolean);
  }

  private folder(request: string): string {
    return join(this.context.work, request);
  }

  /** The journal first: a crash in between leaves a folder that nobody needs, not a record without its files. */
  private async clear(): Promise<void> {
    await this.context.journal.clear();
    await this.sweep();
  }

  /** With no request in hand, nothing in the work folder is needed. */
  private async sweep(): Promise<void> {
    for (const name of await readdir(this.context.work))
      await rm(join(this.context.work, name), { recursive: true, force: true });
    this.swept = true;
  }
}
