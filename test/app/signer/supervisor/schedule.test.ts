import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CronSchedule,
  IntervalSchedule,
  type ClockEvent,
  type Schedule,
} from '../../../../src/app/signer/supervisor/schedule.ts';

/** A machine whose clocks the test sets. */
class Machine {
  readonly schedule: Schedule;
  private wall: number;
  private monotonic = 1_000_000;

  /** With a cron expression, or a time span in ms. */
  constructor(poll: string | number, timezone: string, start: string) {
    this.wall = Date.parse(start);
    const clocks = { wall: this.wall, monotonic: this.monotonic };
    this.schedule =
      typeof poll === 'number'
        ? new IntervalSchedule(poll, clocks)
        : new CronSchedule(poll, timezone, clocks);
  }

  /** After how many ms the signer reads the clocks again. */
  get pause(): number {
    return this.schedule.pause({ wall: this.wall, monotonic: this.monotonic });
  }

  /** Both clocks advance by `ms`, then the signer reads them. */
  pass(ms: number): ClockEvent {
    this.wall += ms;
    this.monotonic += ms;
    return this.schedule.check({ wall: this.wall, monotonic: this.monotonic });
  }

  /** The time of day is set by `ms`; a second later the signer reads the clocks. */
  set(ms: number): ClockEvent {
    this.wall += ms;
    return this.pass(1000);
  }

  /** The events of `count` readings, a second apart. */
  seconds(count: number): ClockEvent['kind'][] {
    return Array.from({ length: count }, () => this.pass(1000).kind);
  }
}

const due = (kinds: readonly string[]): number => kinds.filter((kind) => kind === 'due').length;

describe('a cron expression as the schedule of polls', () => {
  it('has a poll each second', () => {
    const machine = new Machine('* * * * * *', 'UTC', '2026-03-01T12:00:00.010Z');
    assert.deepEqual(machine.seconds(5), ['due', 'due', 'due', 'due', 'due']);
  });

  it('has no second poll in the same second, even if a timer is early', () => {
    const machine = new Machine('* * * * * *', 'UTC', '2026-03-01T12:00:00.010Z');
    assert.equal(machine.pass(985).kind, 'none');
    assert.equal(machine.pass(6).kind, 'due');
    assert.equal(machine.pass(1).kind, 'none');
  });

  it('misses no poll between two readings that are seconds apart', () => {
    const machine = new Machine('30 * * * * *', 'UTC', '2026-03-01T12:00:20Z');
    assert.equal(machine.pass(9000).kind, 'none');
    assert.equal(machine.pass(9000).kind, 'due');
  });

  it('continues in the repeated hour of autumn', () => {
    // 2026-11-01: New York goes from 01:59:59 EDT back to 01:00:00 EST, at 06:00:00 UTC.
    const machine = new Machine('*/10 * * * * *', 'America/New_York', '2026-11-01T05:59:45Z');
    assert.equal(due(machine.seconds(60)), 6);
    const vienna = new Machine('* * * * * *', 'Europe/Vienna', '2025-10-26T00:59:58Z');
    assert.equal(due(vienna.seconds(10)), 10);
  });

  it('keeps to the configured zone through the missing hour of spring', () => {
    const machine = new Machine('0 30 3 * * *', 'Europe/Vienna', '2026-03-29T01:29:58Z');
    assert.deepEqual(machine.seconds(3), ['none', 'due', 'none']);
    const quarter = new Machine('0 0 9 * * *', 'Asia/Kathmandu', '2026-03-29T03:14:59Z');
    assert.equal(quarter.pass(1000).kind, 'due');
  });

  for (const [name, by] of [
    ['back by an hour', -3_600_000],
    ['back by three seconds', -3000],
    ['forward by a night', 30_000_000],
    ['from the year 1970 to today', 56 * 365 * 86_400_000],
  ] as const)
    it(`notices at once that the clock was set ${name}, and continues`, () => {
      const machine = new Machine('* * * * * *', 'UTC', '2026-03-01T12:00:00.010Z');
      machine.pass(1000);
      const started = performance.now();
      assert.deepEqual(machine.set(by), { kind: 'clock-set', by });
      assert.ok(
        performance.now() - started < 1000,
        'it does not go through every second that was jumped over',
      );
      assert.equal(due(machine.seconds(10)), 10);
    });

  it('does not report an adjustment of one second', () => {
    const machine = new Machine('* * * * * *', 'UTC', '2026-03-01T12:00:00.500Z');
    assert.notEqual(machine.set(-900).kind, 'clock-set');
    assert.notEqual(machine.set(900).kind, 'clock-set');
  });

  it('polls after the process was stopped for hours, without searching them', () => {
    const machine = new Machine('0 0 3 1 1 *', 'UTC', '2026-03-01T12:00:00Z');
    assert.equal(machine.pass(4 * 3_600_000).kind, 'due');
    assert.equal(machine.pass(1000).kind, 'none');
  });
});

describe('a time span as the schedule of polls', () => {
  it('counts from the beginning of one poll to that of the next', () => {
    const machine = new Machine(500, 'UTC', '2026-03-01T12:00:00Z');
    assert.equal(machine.pass(499).kind, 'none');
    assert.equal(machine.pass(1).kind, 'due');
    assert.equal(machine.pass(400).kind, 'none', 'the poll took 400 ms');
    assert.equal(machine.pause, 100);
    assert.equal(machine.pass(100).kind, 'due');
  });

  it('polls at once after a poll that took longer, and not twice', () => {
    const machine = new Machine(500, 'UTC', '2026-03-01T12:00:00Z');
    assert.equal(machine.pass(1700).kind, 'due');
    assert.equal(machine.pass(1).kind, 'none');
  });

  for (const [name, by] of [
    ['back by a year', -365 * 86_400_000],
    ['forward by a night', 30_000_000],
  ] as const)
    it(`notices at once that the clock was set ${name}, and keeps its pace`, () => {
      const machine = new Machine(10_000, 'UTC', '2026-03-01T12:00:00Z');
      assert.deepEqual(machine.set(by), { kind: 'clock-set', by });
      assert.equal(due(machine.seconds(30)), 3);
    });

  it('polls on while the time of day stands still', () => {
    const machine = new IntervalSchedule(1000, { wall: 1e12, monotonic: 0 });
    const kinds = Array.from(
      { length: 6 },
      (_, at) => machine.check({ wall: 1e12, monotonic: at * 500 }).kind,
    );
    assert.deepEqual(kinds, ['none', 'none', 'due', 'none', 'due', 'none']);
  });

  it('has the clocks read every second, however long the span is', () => {
    assert.equal(new Machine(3_600_000, 'UTC', '2026-03-01T12:00:00Z').pause, 1000);
  });
});
