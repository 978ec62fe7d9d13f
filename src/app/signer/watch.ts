import { join } from 'node:path';
import { shortId } from '../../lib/git/objects.ts';
import { commitsAfter, unansweredAmong, type LookAfter } from '../../protocol/control/receipt.ts';
import type { Heads } from '../../protocol/control/repository.ts';
import { readRequest } from '../../protocol/control/request.ts';
import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { RequestHandler } from './handle-request.ts';
import { AnsweredRequests } from './answered-requests.ts';
import { Checkpoint } from './checkpoint.ts';
import { ReceiptBranch } from './receipt-branch.ts';
import { onEachTick, PollSchedule, readClocks, type Tick } from './schedule.ts';
import type { SignerContext } from './signer-context.ts';

/** What one poll came to. */
export interface PollResult {
  /** Requests answered, refusals among them. */
  readonly answered: number;
  /** Requests that wait for vouches, a time lock or the end of a HOLD. */
  readonly waiting: number;
}

interface Pending {
  /** When this signer first saw the request, once that was asked: time locks count from here. */
  seen: Date | null;
  /** What it was last said to wait for, so that the log says it once. */
  told: string;
}

/** Polls the control repository and answers what is asked, one request after another, in order. */
export class Signer {
  private readonly branch: ReceiptBranch;
  private readonly answerer: RequestHandler;
  private readonly answered: AnsweredRequests;
  /** Unanswered requests by id, oldest first. */
  private readonly pending = new Map<string, Pending>();
  /** Heads up to which `pending` is complete; null before the first poll. */
  private listed: LookAfter | null = null;
  private readonly checkpoint: Checkpoint;
  /** The tip of the receipt branch that was seen to tell our policy. */
  private tellingTip: string | null = null;
  /** Which state of the requests that wait for timestamps the branch's tip was last compared with. */
  private toldWaits = -1;
  /** Whether the request branch was seen to have `control.since`. */
  private hasSince = false;
  /** Whether the last poll found no request branch. */
  private branchMissed = false;
  /** The heads that were accepted last. */
  private heads: Heads | null = null;
  private stopping = false;

  constructor(private readonly context: SignerContext) {
    this.branch = new ReceiptBranch(context);
    const { state, control } = context.config;
    this.answered = new AnsweredRequests(join(state, 'answered'), context.repository, () => ({
      since: control.since,
      lost: context.acceptedHeads.lost,
    }));
    this.answerer = new RequestHandler(context, this.branch, this.answered, () => this.accepted());
    this.checkpoint = new Checkpoint(join(state, 'landmark'), control.since);
  }

  /** Begins nothing new; the request in hand is finished. */
  stop(): void {
    this.stopping = true;
  }

  /**
   * Looks once, and answers all that can be answered. Throws alarms (history rewound or forged) and
   * whatever keeps this signer from working; what keeps it from answering one request, such as a
   * channel's key that has expired, is thrown after the others were answered.
   */
  async poll(): Promise<PollResult> {
    const polled = this.context.now();
    let heads = await this.accepted();
    if (await this.finishLeftOver()) heads = await this.accepted();
    heads = await this.published(heads);
    await this.reportMissingBranch(heads);
    await this.list(heads, polled);
    let answered = 0;
    const troubles: Error[] = [];
    for (const [id, pending] of this.pending) {
      if (this.stopping) break;
      try {
        // While one request is signed the branches may move: the next is judged by what was seen last.
        if (await this.take(id, pending, this.heads ?? heads)) answered += 1;
      } catch (error) {
        if (isAlarm(error) || (await this.answerer.isInHand())) throw error;
        troubles.push(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.tellTroubles(troubles);
    await this.setCheckpoint();
    await this.saveAnswered();
    return { answered, waiting: this.pending.size };
  }

  /** Logs all but the first, and throws that. */
  private tellTroubles([first, ...others]: readonly Error[]): void {
    for (const error of others) logError(this.context, error);
    if (first) throw first;
  }

  /** Accepts a history that was refused, since a person looked at it and said so. */
  async acceptHistory(commit: string): Promise<void> {
    const { repository, acceptedHeads, now } = this.context;
    const heads = await repository.fetch();
    const roots = heads.requests === null ? {} : { roots: await repository.rootsOf(heads.requests) };
    await acceptedHeads.acceptHistory(commit, heads, { at: now(), ...roots });
    this.context.origin.forget();
    this.context.log.warn({ commit }, `history accepted as it stands at ${shortId(commit)}`);
  }

  /** The request that a crash left in hand comes first, once history was judged: an alarm stops deliveries too. */
  private async finishLeftOver(): Promise<boolean> {
    const finished = await this.answerer.resume();
    if (finished !== null) this.pending.delete(finished);
    return finished !== null;
  }

  /** The heads once the receipt branch tells the policy as it is configured now. */
  private async published(heads: Heads): Promise<Heads> {
    const { acceptedHeads, now, timestampOutages } = this.context;
    const { version } = timestampOutages;
    if (heads.receipts !== null && heads.receipts === this.tellingTip && version === this.toldWaits)
      return heads;
    this.toldWaits = version;
    const after = await this.branch.publishPolicy(heads);
    this.tellingTip = after.receipts;
    if (after.receipts !== acceptedHeads.heads?.receipts)
      await acceptedHeads.accept({ requests: heads.requests, receipts: after.receipts }, { at: now() });
    return after;
  }

  /** Warns once if the request branch is not there: a builder may be pushing to another one. */
  private async reportMissingBranch({ requests }: Heads): Promise<void> {
    const missed = requests === null;
    if (missed && !this.branchMissed) {
      const { repository, log } = this.context;
      const there = [...(await repository.listRemote()).keys()]
        .slice(0, 10)
        .map((name) => printable(name, 60));
      const branch = repository.branches.requests;
      log.warn(
        { code: 'no-requests-branch', branch, branches: there },
        `the control repository has no branch ${branch}, where requests are looked for (control.requests); it has ${there.length === 0 ? 'none yet' : there.join(', ')}`,
      );
    }
    this.branchMissed = missed;
  }

  /** The remote's heads, once judging them has shown that they only grew. */
  private async accepted(): Promise<Heads> {
    const { acceptedHeads, log, now } = this.context;
    const { heads, first, changed } = await this.branch.judgedHeads();
    await this.requireSince(heads);
    const roots = await this.rootsToPin(heads);
    if (first)
      log.warn(
        { requests: heads.requests, receipts: heads.receipts },
        'first sight of this control repository: its history is taken as it is',
      );
    if (changed || roots) await acceptedHeads.accept(heads, { at: now(), ...(roots && { roots }) });
    this.heads = heads;
    return heads;
  }

  /**
   * Throws the alarm `history-lacks-since` if the request branch does not have `control.since`: all that came before
   * it would seem to be unanswered. Asked once, since accepted history only grows.
   */
  private async requireSince({ requests }: Heads): Promise<void> {
    const { repository, config } = this.context;
    const { since } = config.control;
    if (since === undefined || requests === null || this.hasSince) return;
    this.hasSince = await repository.isAncestor(since, requests);
    if (this.hasSince) return;
    throw new SignpipeError(
      'alarm',
      'history-lacks-since',
      `${repository.branches.requests} stands at ${shortId(requests)}, and control.since, ${shortId(since)}, is not in its history`,
      {
        hint: `compare the branch with a copy you trust: the host may be showing an old state. If control.since is wrong, correct it in ${config.file}`,
      },
    );
  }

  /** The roots of the first accepted head of the request branch, unless they are pinned. */
  private async rootsToPin({ requests }: Heads): Promise<string[] | null> {
    const { acceptedHeads, repository, config, log } = this.context;
    const first = acceptedHeads.heads?.requests ?? requests;
    if (first === null || acceptedHeads.roots !== null || config.control.roots) return null;
    const roots = await repository.rootsOf(first);
    log.info({ roots }, 'pinned the roots of the request branch: requests must descend from one of them');
    this.tellingTip = null;
    return roots;
  }

  /**
   * Adds the requests that have come since the last look; the first look takes every unanswered one. The
   * log tells when the poll that saw them began, so that what an answer takes can be told whole.
   */
  private async list(heads: Heads, polled: Date): Promise<void> {
    const { repository, origin, log } = this.context;
    if (heads.requests === null || heads.requests === this.listed?.requests) return;
    this.listed ??= await this.begin(heads);
    const commits = await commitsAfter(repository, heads.requests, this.listed);
    await origin.learn(commits, this.listed?.requests ?? null);
    // Held to the receipts each time: a branch that was set back and put forth again brings what was answered already.
    const ids = await unansweredAmong(repository, commits, heads, this.listed);
    for (const id of ids) {
      if (this.pending.has(id)) continue;
      this.pending.set(id, { seen: null, told: '' });
      log.info({ request: id, polled }, `request ${shortId(id)}`);
    }
    this.listed = { requests: heads.requests, receipts: heads.receipts };
    this.checkpoint.count(ids.length);
  }

  /** Where the first look begins; null for the beginning of the history. */
  private async begin({ receipts }: Heads): Promise<LookAfter | null> {
    const { repository, config } = this.context;
    const settled = await this.checkpoint.read(repository, receipts);
    const { since } = config.control;
    return settled ?? (since === undefined ? null : { requests: since });
  }

  /** With nothing left to answer, the next signer can begin from here. */
  private async setCheckpoint(): Promise<void> {
    const { repository } = this.context;
    const { receipts } = await repository.heads();
    if (this.pending.size > 0 || !this.listed || receipts === null) return;
    await this.checkpoint.set(repository, { requests: this.listed.requests, receipts });
  }

  /** The lists as they are now; one that cannot be read holds every request. */
  private async readLists(): Promise<void> {
    for (const channel of await this.context.lists.refresh())
      this.context.log.info(
        { channel },
        `channel ${channel}: allowed signers read again, since a file changed`,
      );
  }

  /** With nothing left to answer there is time to look through the receipts, before a request has to wait for it. */
  private async saveAnswered(): Promise<void> {
    const { receipts } = await this.context.repository.heads();
    if (this.pending.size === 0) await this.answered.update(receipts);
    await this.answered.save();
  }

  /** Whether the request was answered. */
  private async take(id: string, pending: Pending, heads: Heads): Promise<boolean> {
    const { repository, acceptedHeads, now } = this.context;
    await this.readLists();
    const request = await readRequest(repository, id);
    pending.seen ??= (await acceptedHeads.firstSeen(repository, id)) ?? now();
    const answer = await this.answerer.answer(request, heads, pending.seen);
    if (answer.state === 'answered') {
      this.pending.delete(id);
      return true;
    }
    if (answer.why !== pending.told)
      this.context.log.info({ request: id, code: answer.code }, `${shortId(id)}: ${answer.why}`);
    pending.told = answer.why;
    return false;
  }
}

const isAlarm = (error: unknown): boolean => error instanceof SignpipeError && error.kind === 'alarm';

/** How the log tells an error: alarms loudest, with what to do. */
export function logError(context: Pick<SignerContext, 'log'>, error: unknown): void {
  if (!(error instanceof SignpipeError)) {
    context.log.error({ err: error }, messageOf(error));
    return;
  }
  const fields = { code: error.code, hint: error.hint };
  if (error.kind === 'alarm') context.log.fatal(fields, `ALARM: ${error.message}`);
  else context.log.error(fields, error.message);
}

function reportClock({ log }: SignerContext, by: number): void {
  const seconds = Math.round(Math.abs(by) / 1000);
  const how = by < 0 ? 'back' : 'forward';
  log.warn({ seconds: Math.round(by / 1000) }, `the clock was set ${how} by ${seconds} s: polling at once`);
}

/**
 * Polls on the configured schedule until `signal` says stop, one poll at a time; then finishes the
 * request in hand. Errors are logged and the next poll tries again: an alarm repeats until a person
 * looked, and nothing is signed meanwhile. Returns whether the last poll raised an alarm.
 */
export async function watch(context: SignerContext, signal: AbortSignal): Promise<boolean> {
  const signer = new Signer(context);
  let alarmed = false;
  const look = async (): Promise<void> => {
    try {
      // What came while a request was answered need not wait for the schedule.
      while ((await signer.poll()).answered > 0 && !signal.aborted);
      alarmed = false;
    } catch (error) {
      alarmed = isAlarm(error);
      logError(context, error);
    }
  };
  const stopped = new Promise<void>((resolve) => {
    const stop = (): void => resolve(signer.stop());
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop, { once: true });
  });
  let polling = false;
  let underway = Promise.resolve();
  const begin = (): void => {
    // A tick that finds a poll at work needs no poll of its own.
    if (polling) return;
    polling = true;
    underway = look().finally(() => (polling = false));
  };
  const schedule = new PollSchedule(
    context.config.control.poll,
    context.config.control.timezone,
    readClocks(),
  );
  const onTick = (tick: Tick): void => {
    if (tick.kind === 'clock-set') reportClock(context, tick.by);
    begin();
  };
  begin();
  const stopTicking = onEachTick(schedule, onTick);
  await stopped;
  stopTicking();
  await underway;
  await schedule.close();
  return alarmed;
}
