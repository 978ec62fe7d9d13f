import { createTask, type ScheduledTask } from 'node-cron';

/** One reading of the machine's two clocks, both in milliseconds. */
interface ClockReading {
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

/** If the two clocks differ by more than this between two readings, in ms, the time of day was set. */
const CLOCK_SET_MS = 2000;

/** After a pause longer than this, in ms, a poll is due without a search. */
const LONGEST_SEARCH_MS = 3_600_000;

const NONE: ClockEvent = { kind: 'none' };
const DUE: ClockEvent = { kind: 'due' };

/**
 * A cron expression, evaluated second by second. node-cron only says whether a second matches; its own timer is not
 * used, since it computes the next match ahead: in the repeated hour of autumn, and after the clock was set back, that
 * is an hour or more away, and after a long step forward it would go through every skipped match.
 */
export class PollSchedule {
  private readonly task: ScheduledTask;
  private last: ClockReading;

  /** `timezone` is an IANA name, for the expression's hours. */
  constructor(expression: string, timezone: string, start: ClockReading) {
    this.task = createTask(expression, () => {}, { timezone });
    this.last = start;
  }

  /** What has become due since the last reading. */
  check(now: ClockReading): ClockEvent {
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

  /** Removes the task from node-cron's list. */
  async close(): Promise<void> {
    await this.task.destroy();
  }
}

const wholeSecond = (wall: number): number => Math.floor(wall / 1000) * 1000;

/** Reads both clocks. */
export const readClocks = (): ClockReading => ({ wall: Date.now(), monotonic: performance.now() });

/** Reads the clocks at the beginning of each second and reports each event. Returns the function that stops it. */
export function onClockEvents(schedule: PollSchedule, report: (event: ClockEvent) => void): () => void {
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    timer = setTimeout(wake, 1000 - (Date.now() % 1000));
  };
  const wake = (): void => {
    const event = schedule.check(readClocks());
    if (event.kind !== 'none') report(event);
    wait();
  };
  wait();
  return () => clearTimeout(timer);
}
