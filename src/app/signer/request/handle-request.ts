import { mkdir, rm } from 'node:fs/promises';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import type { Request } from '../../../protocol/control/request.ts';
import type { Vouch } from '../../../protocol/control/vouch.ts';
import { withSign } from '../../../engine/keys/signing-key.ts';
import { attach, makesAttachments, requireAttachable } from '../attachments/attachments.ts';
import type { AnsweredRequests } from './answered-requests.ts';
import { checkBeforeKeyUse, HeadsUnknown, UnmetPreconditionError } from './before-key-use.ts';
import type { Channel } from '../channel/channel.ts';
import { RequestCompletion } from './complete-request.ts';
import { errorToAnswer, logAnswer } from './error-to-answer.ts';
import { answeredNow } from '../../../lib/errors.ts';
import { closeFiles, fetchFiles, type FetchedFile } from '../files/fetch.ts';
import { channelOf, judge, repeated, requesterIfProven, requireOurs } from './policy.ts';
import { checkDate, checkPreconditions } from './preconditions.ts';
import type { ReceiptBranch } from './receipt-branch.ts';
import {
  certificateOf,
  newDraft,
  receiptOf,
  refusalOf,
  requireValidReceipt,
  type ReceiptDraft,
} from './receipt-draft.ts';
import { checkKey } from '../channel/key-precondition.ts';
import { rehearseDelivery } from '../files/deliver.ts';
import { signFiles, type SignedRequest } from '../files/sign-request.ts';
import type { SignerContext } from '../context/signer-context.ts';
import type { UnmetPrecondition } from '../channel/unmet-precondition.ts';

/** What became of a request at this poll. */
type RequestOutcome =
  | { readonly state: 'answered'; readonly outcome: Receipt['outcome'] }
  | { readonly state: 'waiting'; readonly why: string; readonly code: string };

/** Handles one request at a time, from the commit to the pushed receipt. */
export class RequestHandler {
  readonly completion: RequestCompletion;

  constructor(
    private readonly context: SignerContext,
    branch: ReceiptBranch,
    private readonly answered: AnsweredRequests,
    /** The current heads, once their history was judged. */
    private readonly headsNow: () => Promise<Heads>,
  ) {
    this.completion = new RequestCompletion(context, branch);
  }

  /**
   * Answers one request, or reports what it waits for. Throws only errors that are not the request's fault; if
   * `completion.isInHand` then, other requests must wait until it is finished.
   */
  async handle(request: Request, heads: Heads, seen: Date): Promise<RequestOutcome> {
    const receipt = await this.receiptFor(request, heads, seen);
    if ('why' in receipt) return { state: 'waiting', why: receipt.why, code: receipt.code };
    // From here on no error is a fault of the request: the answer is final and must be pushed.
    await this.completion.conclude(receipt);
    return { state: 'answered', outcome: receipt.outcome };
  }

  /** The receipt that answers a request, its files delivered; or what the request waits for. */
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
      const checked = await checkPreconditions(context, { request, channel, requester, seen }, heads);
      if (!checked.met) return checked;
      draft = { ...draft, vouches: checked.vouches };
      const wait = checkKey(channel, context.now()) ?? (await context.outages.before(request.id, channel));
      if (wait) return wait;
      const receipt = await this.sign(draft, channel, seen);
      await context.outages.over(channel.config.name);
      return receipt;
    } catch (error) {
      if (error instanceof UnmetPreconditionError || error instanceof HeadsUnknown)
        await this.completion.clear();
      if (error instanceof UnmetPreconditionError) return error.unmet;
      if (error instanceof HeadsUnknown) throw error.cause;
      const wait = await context.outages.after(error, request.id, draft.channel ?? undefined);
      const answer = errorToAnswer(error);
      if (wait || !answer) {
        if (!(await this.completion.isInHand())) await this.completion.clear();
        if (wait) return wait;
        throw error;
      }
      return refusalOf(draft, logAnswer(context, 'refused', request.id, answer));
    }
  }

  private async sign(draft: ReceiptDraft, channel: Channel, seen: Date): Promise<Receipt> {
    const { context } = this;
    const { request } = draft;
    await requireAttachable(channel, context);
    const folder = await this.emptyFolder(request.id);
    const { fetched, rehearsal } = await this.fetchRehearsing(request, channel, folder);
    const fetchedAt = context.now().toISOString();
    let counted: Promise<readonly Vouch[]> | undefined;
    const check = (): Promise<readonly Vouch[]> =>
      (counted ??= checkBeforeKeyUse(context, { request, channel, seen }, this.headsNow));
    const key = withSign(channel.key, async (...data) => {
      await check();
      return channel.key.sign(...data);
    });
    const signed = await this.signFetched({ ...channel, key }, fetched, {
      request: request.id,
      folder,
      rehearsal,
    });
    // If nothing could be signed, the keys for checksum files are the first that are used.
    const vouches = await check();
    const times = { ...draft.times, fetched: fetchedAt, signed: context.now().toISOString() };
    const signedReceipt = receiptOf({ ...draft, vouches, times }, 'signed', {
      ...(signed.certificate ? certificateOf(signed.certificate) : {}),
      files: signed.files,
      zlib: process.versions.zlib,
    });
    const { receipt, outputs } = await attach(
      context,
      { channel, receipt: signedReceipt, request },
      signed.outputs,
    ).catch((error: unknown) => {
      throw answeredNow(error);
    });
    requireValidReceipt(receipt);
    await context.journal.write({
      version: 2,
      request: request.id,
      stage: 'signed',
      receipt,
      outputs: [...outputs],
    });
    return this.completion.deliver({ receipt, folder, newBytes: signed.newBytes }, outputs);
  }

  /** Records a request as begun and makes its work folder. */
  private async emptyFolder(request: string): Promise<string> {
    const folder = await this.completion.begin(request);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  /** Fetches a request's files while their delivery is rehearsed, whose failure is thrown when `rehearsal` is awaited. */
  private async fetchRehearsing(
    request: Request,
    channel: Channel,
    folder: string,
  ): Promise<{ readonly fetched: readonly FetchedFile[]; readonly rehearsal: Promise<void> }> {
    const { context } = this;
    const rehearsal = rehearseDelivery(context, request);
    rehearsal.catch(() => {});
    try {
      const whole = makesAttachments(channel.config);
      return { fetched: await fetchFiles(context, request.files, { folder, whole }), rehearsal };
    } catch (error) {
      await rehearsal.catch(() => {});
      throw error;
    }
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
}
