import { createTask, type ScheduledTask } from 'node-cron';

/** One reading of the machine's two clocks, both in milliseconds. */
export interface ClockReading {
  /** Time of day (`Date.now`): a person, NTP or a resumed virtual machine may set it forward or back. */
  readonly wall: number;
  /** Time since an arbitrary moment (`performance.now`): only ever goes forward. */
  readonly monotonic: number;
}

/**
 * What the clocks say at one look: nothing is due, the schedule has a tick, or the time of day was set
 * `by` some milliseconds (negative: back), so that ticks may have been lost.
 */
export type ClockEvent =
  | { readonly kind: 'none' | 'due' }
  | { readonly kind: 'clock-set'; readonly by: number };

/** Where the two clocks differ by more than this between two looks, in ms, the time of day was set. */
const CLOCK_SET_MS = 2000;

/** After a pause longer than this, in ms, a tick is taken for granted instead of searched for. */
const LONGEST_SEARCH_MS = 3_600_000;

const NONE: ClockEvent = { kind: 'none' };
const DUE: ClockEvent = { kind: 'due' };

/**
 * A cron expression, asked second by second. node-cron judges whether a second matches; it does not keep the
 * time, since its own timer computes the next tick ahead: in the repeated hour of autumn, and after the clock
 * was set back, that tick lies up to an hour or more away, and after a long step forward it would go through
 * every tick that was jumped over.
 */
export class PollSchedule {
  private readonly task: ScheduledTask;
  private last: ClockReading;

  /** `timezone` is an IANA name; the expression's hours are of that zone. */
  constructor(expression: string, timezone: string, start: ClockReading) {
    this.task = createTask(expression, () => {}, { timezone });
    this.last = start;
  }

  /** What has come due since the last look. */
  look(now: ClockReading): ClockEvent {
    const { last } = this;
    this.last = now;
    const passed = now.monotonic - last.monotonic;
    const by = now.wall - last.wall - passed;
    if (Math.abs(by) > CLOCK_SET_MS) return { kind: 'clock-set', by };
    if (passed > LONGEST_SEARCH_MS) return DUE;
    for (let second = wholeSecond(last.wall) + 1000; second <= now.wall; second += 1000)
      if (this.task.match(new Date(second))) return DUE;
    return NONE;
  }

  /** node-cron keeps a list of its tasks; this one leaves it. */
  async close(): Promise<void> {
    await this.task.destroy();
  }
}

const wholeSecond = (wall: number): number => Math.floor(wall / 1000) * 1000;

/** Both clocks, now. */
export const readClocks = (): ClockReading => ({ wall: Date.now(), monotonic: performance.now() });

/** Looks at the clocks once a second, just after it began, and reports each tick. Returns what stops it. */
export function onEachTick(schedule: PollSchedule, report: (tick: ClockEvent) => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    timer = setTimeout(wake, 1000 - (Date.now() % 1000));
  };
  const wake = (): void => {
    const tick = schedule.look(readClocks());
    if (tick.kind !== 'none') report(tick);
    wait();
  };
  wait();
  return () => clearTimeout(timer);
}
