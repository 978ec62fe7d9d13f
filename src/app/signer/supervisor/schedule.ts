import { createTask, type ScheduledTask } from 'node-cron';

/** One reading of the machine's two clocks, both in milliseconds. */
export interface ClockReading {
  /** Time of day (`Date.now`): a person, NTP or a resumed virtual machine may set it forward or back. */
  readonly wall: number;
  /** Time since an arbitrary moment (`performance.now`): only ever goes forward. */
  readonly monotonic: number;
}

/**
 * The result of one reading of the clocks: nothing is due, a poll is due, or the time of day was set `by` some
 * milliseconds (negative: back), so that polls may have been missed.
 */
export type ClockEvent =
  | { readonly kind: 'none' | 'due' }
  | { readonly kind: 'clock-set'; readonly by: number };

/** When to poll. */
export interface Schedule {
  /** What has become due since the last reading. */
  check(now: ClockReading): ClockEvent;
  /** After how many ms the clocks should be read again: at most a second, so that a clock that was set is noticed. */
  pause(now: ClockReading): number;
  close(): Promise<void>;
}

/** If the two clocks differ by more than this between two readings, in ms, the time of day was set. */
const CLOCK_SET_MS = 2000;

/** How long the clocks may stay unread, in ms. */
const LONGEST_PAUSE_MS = 1000;

/** After a pause longer than this, in ms, a poll is due without a search. */
const LONGEST_SEARCH_MS = 3_600_000;

const NONE: ClockEvent = { kind: 'none' };
const DUE: ClockEvent = { kind: 'due' };

/** By how many ms the time of day was set between two readings. */
const setBy = (last: ClockReading, now: ClockReading): number =>
  now.wall - last.wall - (now.monotonic - last.monotonic);

/** Polls at equal distances by the monotonic clock, from the beginning of one to that of the next. */
export class IntervalSchedule implements Schedule {
  private begun: number;

  constructor(
    private readonly every: number,
    private last: ClockReading,
  ) {
    this.begun = last.monotonic;
  }

  check(now: ClockReading): ClockEvent {
    const by = setBy(this.last, now);
    this.last = now;
    const isSet = Math.abs(by) > CLOCK_SET_MS;
    if (!isSet && now.monotonic < this.begun + this.every) return NONE;
    this.begun = now.monotonic;
    return isSet ? { kind: 'clock-set', by } : DUE;
  }

  pause({ monotonic }: ClockReading): number {
    return Math.min(LONGEST_PAUSE_MS, Math.max(0, this.begun + this.every - monotonic));
  }

  async close(): Promise<void> {}
}

/**
 * A cron expression, evaluated second by second. node-cron only says whether a second matches; its own timer is not
 * used, since it computes the next match ahead: in the repeated hour of autumn, and after the clock was set back, that
 * is an hour or more away, and after a long step forward it would go through every skipped match.
 */
export class CronSchedule implements Schedule {
  private readonly task: ScheduledTask;
  private last: ClockReading;

  /** `timezone` is an IANA name, for the expression's hours. */
  constructor(expression: string, timezone: string, start: ClockReading) {
    this.task = createTask(expression, () => {}, { timezone });
    this.last = start;
  }

  check(now: ClockReading): ClockEvent {
    const { last } = this;
    this.last = now;
    const by = setBy(last, now);
    if (Math.abs(by) > CLOCK_SET_MS) return { kind: 'clock-set', by };
    if (now.monotonic - last.monotonic > LONGEST_SEARCH_MS) return DUE;
    for (let second = wholeSecond(last.wall) + 1000; second <= now.wall; second += 1000)
      if (this.task.match(new Date(second))) return DUE;
    return NONE;
  }

  /** Until the beginning of the next second. */
  pause({ wall }: ClockReading): number {
    return LONGEST_PAUSE_MS - (wall % 1000);
  }

  /** Removes the task from node-cron's list. */
  async close(): Promise<void> {
    await this.task.destroy();
  }
}

const wholeSecond = (wall: number): number => Math.floor(wall / 1000) * 1000;

/** Reads both clocks. */
export const readClocks = (): ClockReading => ({ wall: Date.now(), monotonic: performance.now() });

/** The schedule of a configuration: a time span in ms, or a cron expression in a time zone. */
export const scheduleOf = ({
  poll,
  timezone,
}: {
  readonly poll: number | string;
  readonly timezone: string;
}): Schedule =>
  typeof poll === 'number'
    ? new IntervalSchedule(poll, readClocks())
    : new CronSchedule(poll, timezone, readClocks());
