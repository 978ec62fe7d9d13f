import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '../../../lib/concurrency/backoff.ts';
import { isAlarm } from '../../../lib/errors.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { Housekeeper } from '../housekeeping/housekeeper.ts';
import { RequestPoller, type PollResult } from '../request/request-poller.ts';
import { Reports } from '../reporting/reports.ts';
import type { Movement } from './movement.ts';
import { readClocks, scheduleOf, type Schedule } from './schedule.ts';

/** The pauses after polls that failed, in ms: the first attempt again comes soon. */
const AFTER_FAILURE = { first: 1000, longest: 60_000 };

interface WatchOptions {
  /** Ends the watching; the current request is finished. */
  readonly signal: AbortSignal;
  /** Is informed that the signer gets on. */
  readonly movement: Movement;
  /** Called after each poll, with null if it failed. */
  readonly onPolled?: (result: PollResult | null) => void;
}

function reportClock({ log }: SignerContext, by: number): void {
  const seconds = Math.round(Math.abs(by) / 1000);
  const how = by < 0 ? 'back' : 'forward';
  log.warn({ seconds: Math.round(by / 1000) }, `the clock was set ${how} by ${seconds} s: polling at once`);
}

/**
 * Waits until the next poll: until one is due, or after a failure for `retryIn` ms. All pauses are measured by the
 * monotonic clock; if the time of day was set, the wait ends at once.
 */
async function untilNextPoll(
  context: SignerContext,
  schedule: Schedule,
  { signal, movement, retryIn }: WatchOptions & { readonly retryIn: number | null },
): Promise<void> {
  const retryAt = performance.now() + (retryIn ?? Number.POSITIVE_INFINITY);
  while (!signal.aborted) {
    movement.moved();
    const now = readClocks();
    const event = schedule.check(now);
    if (event.kind === 'clock-set') return reportClock(context, event.by);
    if (retryIn === null ? event.kind === 'due' : now.monotonic >= retryAt) return;
    const pause = Math.max(1, Math.min(schedule.pause(now), retryAt - now.monotonic));
    await sleep(pause, undefined, { signal }).catch(() => {});
  }
}

/** The polls of one signer, one after another, and how they fared. */
class Polls {
  readonly backoff = new Backoff(AFTER_FAILURE);
  /** Whether the last poll raised an alarm. */
  alarmed = false;
  private failingSince: number | null = null;
  private readonly housekeeper: Housekeeper;

  constructor(
    private readonly context: SignerContext,
    private readonly poller: RequestPoller,
    private readonly options: WatchOptions,
  ) {
    this.housekeeper = new Housekeeper(context, { unanswered: () => poller.unanswered });
  }

  /** Polls, again at once as long as requests are answered; returns after how many ms to try again if it failed. */
  async poll(): Promise<number | null> {
    const { context, poller, options } = this;
    try {
      let result: PollResult;
      do {
        result = await poller.poll();
        options.movement.moved();
        context.activity.polled();
        options.onPolled?.(result);
        // Requests that came while another was answered do not wait for the schedule.
      } while (result.answered > 0 && !options.signal.aborted);
      poller.errors.forget();
      this.worked();
      if (!options.signal.aborted) await this.tidyUp();
      return null;
    } catch (error) {
      this.alarmed = isAlarm(error);
      poller.errors.report(error);
      if (poller.triedAll) context.activity.polled();
      else context.activity.failed(error);
      options.onPolled?.(null);
      return this.failed();
    }
  }

  /** What keeps the signer from tidying up keeps it from nothing else. */
  private async tidyUp(): Promise<void> {
    try {
      await this.housekeeper.step();
    } catch (error) {
      this.poller.errors.report(error);
    }
  }

  private worked(): void {
    this.alarmed = false;
    this.backoff.reset();
    if (this.failingSince === null) return;
    const seconds = Math.round((performance.now() - this.failingSince) / 1000);
    this.context.log.info({ seconds }, `polling works again, after ${seconds} s`);
    this.failingSince = null;
  }

  /** An error that concerns single requests delays no others. */
  private failed(): number | null {
    if (this.poller.triedAll) {
      this.backoff.reset();
      return null;
    }
    this.failingSince ??= performance.now();
    return this.backoff.next();
  }
}

/**
 * Polls on the configured schedule until `signal` is aborted, one poll at a time; then finishes the current request.
 * Errors are logged, and polls are tried again after growing pauses: an alarm repeats until a person has dealt with it,
 * and nothing is signed meanwhile. Returns whether the last poll raised an alarm.
 */
export async function watch(context: SignerContext, options: WatchOptions): Promise<boolean> {
  const { signal } = options;
  const poller = new RequestPoller(context);
  const polls = new Polls(context, poller, options);
  const schedule = scheduleOf(context.config.control);
  const reports = Reports.start(context);
  const stop = (): void => poller.stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    while (!signal.aborted) {
      const retryIn = await polls.poll();
      await untilNextPoll(context, schedule, { ...options, retryIn });
    }
    return polls.alarmed;
  } finally {
    signal.removeEventListener('abort', stop);
    await schedule.close();
    await reports.close();
  }
}
