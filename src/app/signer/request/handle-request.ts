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
import { RequestCompletion, type SignedRequest } from './complete-request.ts';
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
import { signFiles, type SignedFiles } from '../files/sign-request.ts';
import type { SignerContext } from '../context/signer-context.ts';
import type { UnmetPrecondition } from '../channel/unmet-precondition.ts';

/** What became of a request at this poll. */
type RequestOutcome =
  | { readonly state: 'finished' }
  | { readonly state: 'waiting'; readonly why: string; readonly code: string };

/** The first stage of a request: from the commit to its signed files, or to its refusal. One request at a time. */
export class RequestHandler {
  readonly completion: RequestCompletion;

  constructor(
    private readonly context: SignerContext,
    branch: ReceiptBranch,
    private readonly answered: AnsweredRequests,
    /** The current heads, once their history was judged. */
    private readonly headsNow: () => Promise<Heads>,
    /** Called when the receipts of requests are pushed. */
    onAnswered: (requests: readonly string[]) => void,
  ) {
    this.completion = new RequestCompletion(context, branch, onAnswered);
  }

  /**
   * Finishes one request, whose completion goes on meanwhile, or reports what it waits for. Throws only errors that are
   * not the request's fault; if `completion.isBroken` then, no other request may be begun.
   */
  async handle(request: Request, heads: Heads, seen: Date): Promise<RequestOutcome> {
    await this.completion.settleFor(request);
    const result = await this.finish(request, heads, seen);
    if ('why' in result) return { state: 'waiting', why: result.why, code: result.code };
    await this.completion.take(
      request,
      'delivery' in result ? result : await this.completion.conclude(result),
    );
    return { state: 'finished' };
  }

  /** The signed files of a request, or the receipt that refuses it; or what the request waits for. */
  private async finish(
    request: Request,
    heads: Heads,
    seen: Date,
  ): Promise<SignedRequest | Receipt | UnmetPrecondition> {
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
      const signed = await this.sign(draft, channel, seen);
      await context.outages.over(channel.config.name);
      return signed;
    } catch (error) {
      if (error instanceof UnmetPreconditionError || error instanceof HeadsUnknown)
        await this.completion.forget(request.id);
      if (error instanceof UnmetPreconditionError) return error.unmet;
      if (error instanceof HeadsUnknown) throw error.cause;
      const wait = await context.outages.after(error, request.id, draft.channel ?? undefined);
      const answer = errorToAnswer(error);
      if (wait || !answer) {
        await this.completion.forget(request.id);
        if (wait) return wait;
        throw error;
      }
      return refusalOf(draft, logAnswer(context, 'refused', request.id, answer));
    }
  }

  private async sign(draft: ReceiptDraft, channel: Channel, seen: Date): Promise<SignedRequest> {
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
      request: request.id,
      stage: 'signed',
      receipt,
      outputs: [...outputs],
    });
    return { delivery: { receipt, folder, newBytes: signed.newBytes }, outputs };
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
  ): Promise<SignedFiles> {
    try {
      await place.rehearsal;
      return await signFiles(this.context, channel, fetched, place);
    } finally {
      await closeFiles(fetched);
    }
  }
}
