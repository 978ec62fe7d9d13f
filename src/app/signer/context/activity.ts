import { isAlarm, SignpipeError } from '../../../lib/errors.ts';
import type { ProgressBar, ProgressDisplay } from '../../../lib/progress.ts';
import type { Receipt } from '../../../protocol/control/receipt-schema.ts';
import type { Heartbeat, SignerActivity } from '../../../protocol/control/signer-health.ts';

/** Something that lasts, by the code of its error. */
export interface Lasting {
  readonly code: string;
  readonly message: string;
  readonly since: Date;
}

/** An unanswered request, and why it waits, once that is known. */
export interface QueuedRequest {
  readonly seen: Date | null;
  readonly code: string;
}

/** A request in hand. */
interface RequestInHand {
  readonly request: string;
  stage: string;
  since: Date;
  file?: string;
  done?: number;
  of?: number;
}

/** What the work on a file is called, by the first word of its progress bar. */
const STAGES: ReadonlyMap<string, string> = new Map([
  ['fetch', 'fetching'],
  ['sign', 'signing'],
  ['deliver', 'delivering'],
]);

/** Waiting requests that a report lists. */
const MOST_WAITING = 100;

const reported = ({ code, since }: Lasting): SignerActivity['alarm'] => ({
  code: code.slice(0, 100),
  since: since.toISOString(),
});

/** Called with what has happened; see `Activity.listen`. */
export interface ActivityListener {
  answered?(receipt: Receipt): void;
  expires?(channel: string, code: string, text: string): void;
}

/**
 * What a running signer does: its polls, its queue, the request in hand, the answers. Nothing of the work depends on it;
 * heartbeats, metrics and notifications are made from it.
 */
export class Activity {
  /** Polls by how they ended. */
  readonly polls = { ok: 0, failed: 0 };
  lastPoll: Date | null = null;
  private alarmed: Lasting | null = null;
  private failing: Lasting | null = null;
  /** In the order in which they were begun: one may be delivered while the next is fetched or signed. */
  private inHand: readonly RequestInHand[] = [];
  private readQueue: () => ReadonlyMap<string, QueuedRequest> = () => new Map();
  private readonly listeners: ActivityListener[] = [];

  constructor(private readonly now: () => Date) {}

  /** The alarm because of which nothing is signed. */
  get alarm(): Lasting | null {
    return this.alarmed;
  }

  /** What kept the last poll from working. */
  get problem(): Lasting | null {
    return this.failing;
  }

  /** The request in hand; the first of them if there are two. */
  get current(): Heartbeat['current'] {
    const [first] = this.inHand;
    return first ? { ...first, since: first.since.toISOString() } : undefined;
  }

  /** Unanswered requests by their ids, oldest first. */
  get queue(): ReadonlyMap<string, QueuedRequest> {
    return this.readQueue();
  }

  /** What heartbeats and `health.json` say of it. */
  get report(): SignerActivity {
    const { alarm, problem, current, queue } = this;
    const waiting = [...queue].filter(([, { code }]) => code !== '').slice(0, MOST_WAITING);
    return {
      ...(alarm ? { alarm: reported(alarm) } : {}),
      ...(problem ? { problem: reported(problem) } : {}),
      ...(current ? { current } : {}),
      waiting: waiting.map(([request, { code, seen }]) => ({
        request,
        code,
        since: (seen ?? this.now()).toISOString(),
      })),
    };
  }

  listen(listener: ActivityListener): void {
    this.listeners.push(listener);
  }

  /** Gives access to the queue of the poller. */
  showQueue(read: () => ReadonlyMap<string, QueuedRequest>): void {
    this.readQueue = read;
  }

  /** A poll worked, for single requests perhaps not. */
  polled(): void {
    this.polls.ok += 1;
    this.lastPoll = this.now();
    this.alarmed = null;
    this.failing = null;
  }

  /** A poll failed. */
  failed(error: unknown): void {
    this.polls.failed += 1;
    const lasting = this.lastingOf(error);
    const alarm = isAlarm(error);
    this.failing = alarm ? null : lasting(this.failing);
    // While the host cannot be asked, an alarm stays.
    if (alarm) this.alarmed = lasting(this.alarmed);
  }

  private lastingOf(error: unknown): (before: Lasting | null) => Lasting {
    const code = error instanceof SignpipeError ? error.code : 'internal-error';
    const message = error instanceof SignpipeError ? error.message : 'an error that no part expected';
    return (before) => (before?.code === code ? before : { code, message, since: this.now() });
  }

  /** A request is worked on. */
  began(request: string): void {
    this.inHand = [...this.inHand, { request, stage: 'checking', since: this.now() }];
  }

  /** A request is not worked on any more. */
  ended(request: string): void {
    this.inHand = this.inHand.filter((each) => each.request !== request);
  }

  /** The receipt of a request is on the receipt branch. */
  answered(receipt: Receipt): void {
    for (const listener of this.listeners) listener.answered?.(receipt);
  }

  /** The certificate of a channel has come closer to its end, or has expired. */
  expires(channel: string, code: string, text: string): void {
    for (const listener of this.listeners) listener.expires?.(channel, code, text);
  }

  /** A progress display from which the stage of the request in hand is seen; it passes on to another. */
  watching(display: ProgressDisplay): ProgressDisplay {
    return {
      start: (label, unit) => {
        const [verb = '', ...file] = label.split(' ');
        const stage = STAGES.get(verb);
        // Only the first is delivered; only the last is fetched or signed.
        const worked = this.inHand.at(stage === 'delivering' ? 0 : -1);
        if (worked && stage !== undefined) {
          Object.assign(worked, { stage, since: this.now(), file: file.join(' ').slice(0, 255) });
          delete worked.done;
          delete worked.of;
        }
        return this.watchedBar(display.start(label, unit), worked, unit);
      },
    };
  }

  private watchedBar(
    bar: ProgressBar,
    inHand: RequestInHand | undefined,
    unit: 'bytes' | 'files',
  ): ProgressBar {
    return {
      update: (done, total) => {
        // The files of a zip; bytes change too often to be worth reporting.
        if (inHand && unit === 'files') [inHand.done, inHand.of] = [done, total];
        bar.update(done, total);
      },
      stop: () => bar.stop(),
    };
  }
}
