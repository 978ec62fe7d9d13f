import { join } from 'node:path';
import { shortId } from '../../../lib/git/objects.ts';
import { commitsAfter, unansweredAmong, type LookAfter } from '../../../protocol/control/receipt-history.ts';
import type { Heads } from '../../../protocol/control/repository.ts';
import { readRequest } from '../../../protocol/control/request.ts';
import { isAlarm } from '../../../lib/errors.ts';
import { AnsweredRequests } from './answered-requests.ts';
import { Checkpoint } from '../state/checkpoint.ts';
import { CurrentHeads } from './current-heads.ts';
import { RequestHandler } from './handle-request.ts';
import { ReceiptBranch } from './receipt-branch.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { PollErrors } from '../context/poll-errors.ts';

/** The result of one poll. */
export interface PollResult {
  /** Requests answered, refusals among them. */
  readonly answered: number;
  /** Requests that wait for vouches, a time lock or the end of a HOLD. */
  readonly waiting: number;
}

interface PendingRequest {
  /** When this signer first saw the request, once that is known: time locks count from here. */
  seen: Date | null;
  /** The reason for waiting that was last logged, so that each is logged once. */
  reason: string;
  /** Its code; empty before. */
  code: string;
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));

/**
 * Polls the control repository and answers its requests in order: while one is delivered and its receipt pushed, the
 * next is fetched and signed.
 */
export class RequestPoller {
  private readonly heads: CurrentHeads;
  private readonly handler: RequestHandler;
  private readonly answered: AnsweredRequests;
  private readonly checkpoint: Checkpoint;
  /** Unanswered requests by id, oldest first. */
  private readonly pending = new Map<string, PendingRequest>();
  /** Heads up to which `pending` is complete; null before the first poll. */
  private listed: LookAfter | null = null;
  private stopping = false;
  /** Logs errors of polls. */
  readonly errors: PollErrors;
  /** Whether the last poll tried every request; if it threw nevertheless, the error concerns single requests. */
  triedAll = false;

  constructor(private readonly context: SignerContext) {
    this.errors = new PollErrors(context.log);
    context.activity.showQueue(() => this.pending);
    const branch = new ReceiptBranch(context);
    const { state, control } = context.config;
    this.heads = new CurrentHeads(context, branch);
    this.answered = new AnsweredRequests(join(state, 'answered'), context.repository, () => ({
      since: control.since,
      lost: context.acceptedHeads.lost,
    }));
    this.handler = new RequestHandler(
      context,
      branch,
      this.answered,
      () => this.heads.update(),
      (requests) => {
        for (const request of requests) this.pending.delete(request);
      },
    );
    this.checkpoint = new Checkpoint(join(state, 'landmark'), control.since);
  }

  /** Begins no further request; the current request is finished. */
  stop(): void {
    this.stopping = true;
  }

  /**
   * Polls once and answers every request that can be answered. Throws alarms (history rewound or forged) and whatever
   * keeps this signer from working; what keeps it from answering one request, such as a channel's expired key, is
   * thrown after the others were answered.
   */
  async poll(): Promise<PollResult> {
    this.triedAll = false;
    const polled = this.context.now();
    await this.context.renewals.refresh(polled);
    await this.context.expiryWarnings.check(this.context.channels, polled);
    let heads = await this.heads.update();
    // After history was judged: an alarm stops deliveries too.
    if (await this.handler.completion.resume()) heads = await this.heads.update();
    heads = await this.heads.publishPolicy(heads);
    await this.heads.reportMissingBranch(heads);
    await this.list(heads, polled);
    const { finished, errors } = await this.handleAll(heads);
    this.throwFirst(errors);
    await this.setCheckpoint();
    await this.saveAnswered();
    return { answered: finished, waiting: this.pending.size };
  }

  /** Handles every listed request; when this returns or throws, none is under way. */
  private async handleAll(heads: Heads): Promise<{ finished: number; errors: readonly Error[] }> {
    const { completion } = this.handler;
    let finished = 0;
    const errors: Error[] = [];
    for (const [id, pending] of this.pending) {
      if (this.stopping) break;
      try {
        // While one request is signed the branches may move: the next is judged by the heads accepted last.
        if (await this.handle(id, pending, this.heads.last ?? heads)) finished += 1;
      } catch (error) {
        errors.push(asError(error));
        if (isAlarm(error) || completion.isBroken) break;
      }
    }
    await completion.drain().catch((error: unknown) => errors.unshift(asError(error)));
    this.triedAll = !completion.isBroken && !errors.some(isAlarm);
    // What stops all requests comes first.
    return { finished, errors: [...new Set([...errors.filter(isAlarm), ...errors])] };
  }

  /** The requests that have no answer, as of the last poll. */
  get unanswered(): readonly string[] {
    return [...this.pending.keys()];
  }

  /** Accepts a history that was refused, because a person looked at it and decided so. */
  acceptHistory(commit: string): Promise<void> {
    return this.heads.acceptHistory(commit);
  }

  /** Logs all errors but the first, and throws that. */
  private throwFirst([first, ...others]: readonly Error[]): void {
    for (const error of others) this.errors.report(error);
    if (first) throw first;
  }

  /**
   * Adds the requests that came since the last poll; the first poll lists every unanswered one. The log says when the
   * poll that saw them began, so that it shows how long an answer took in all.
   */
  private async list(heads: Heads, polled: Date): Promise<void> {
    const { repository, origin, log } = this.context;
    if (heads.requests === null || heads.requests === this.listed?.requests) return;
    this.listed ??= await this.begin(heads);
    const commits = await commitsAfter(repository, heads.requests, this.listed);
    await origin.learn(commits, this.listed?.requests ?? null);
    // Compared with the receipts each time: a branch that was set back and pushed again brings answered requests.
    const ids = await unansweredAmong(repository, commits, heads, this.listed);
    for (const id of ids) {
      if (this.pending.has(id)) continue;
      this.pending.set(id, { seen: null, reason: '', code: '' });
      log.info({ request: id, polled }, `request ${shortId(id)}`);
    }
    this.listed = { requests: heads.requests, receipts: heads.receipts };
    this.checkpoint.count(ids.length);
  }

  /** Where the first poll begins; null for the beginning of the history. */
  private async begin({ receipts }: Heads): Promise<LookAfter | null> {
    const { repository, config } = this.context;
    const answered = await this.checkpoint.read(repository, receipts);
    const { since } = config.control;
    return answered ?? (since === undefined ? null : { requests: since });
  }

  /** With nothing left to answer, the next signer can begin from here. */
  private async setCheckpoint(): Promise<void> {
    const { repository } = this.context;
    const { receipts } = await repository.heads();
    if (this.pending.size > 0 || !this.listed || receipts === null) return;
    await this.checkpoint.set(repository, { requests: this.listed.requests, receipts });
  }

  /** With nothing left to answer there is time to read the receipts, before a request has to wait for that. */
  private async saveAnswered(): Promise<void> {
    const { receipts } = await this.context.repository.heads();
    if (this.pending.size === 0) await this.answered.update(receipts);
    await this.answered.save();
  }

  /** Whether the request was finished, so that its receipt is pushed soon. A list of signers that cannot be read stops every request. */
  private async handle(id: string, pending: PendingRequest, heads: Heads): Promise<boolean> {
    const { repository, acceptedHeads, lists, renewals, activity, log, now } = this.context;
    await renewals.refresh(now());
    for (const channel of await lists.refresh())
      log.info({ channel }, `channel ${channel}: allowed signers read again, since a file changed`);
    const request = await readRequest(repository, id);
    pending.seen ??= (await acceptedHeads.firstSeen(repository, id)) ?? now();
    activity.began(id);
    const outcome = await this.handler.handle(request, heads, pending.seen).catch((error: unknown) => {
      activity.ended(id);
      throw error;
    });
    if (outcome.state === 'finished') return true;
    activity.ended(id);
    if (outcome.why !== pending.reason)
      log.info({ request: id, code: outcome.code }, `${shortId(id)}: ${outcome.why}`);
    pending.reason = outcome.why;
    pending.code = outcome.code;
    return false;
  }
}
