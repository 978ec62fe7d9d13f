import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pace, Rate, timeLeft } from '../../../src/cli/output/terminal-progress-bar.ts';

describe('a progress bar', () => {
  it('shows speed and remaining time', () => {
    assert.equal(pace(2 * 2 ** 20, 30 * 2 ** 20, 'bytes'), '2.0 MiB/s, 15s left');
    assert.equal(pace(2.5, 400, 'files'), '2.5/s, 2m 40s left');
    assert.equal(pace(120.4, 0, 'files'), '120/s');
  });

  it('shows neither too early, nor while nothing moves', () => {
    for (const rate of [null, 0, -1]) assert.equal(pace(rate, 100, 'bytes'), '');
  });

  it('shows a duration in hours, minutes and seconds', () => {
    const times = [0.2, 59.2, 61, 3599, 3600, 5400, 360_000].map(timeLeft);
    assert.deepEqual(times, ['1s', '1m 00s', '1m 01s', '59m 59s', '1h 00m', '1h 30m', '100h 00m']);
  });

  it('computes its rate from the last ten seconds, without what a resumed transfer had before', () => {
    const rate = new Rate();
    assert.equal(rate.add(1000, 0), null);
    assert.equal(rate.add(1500, 500), null);
    assert.equal(rate.add(2000, 1000), 1000);
    for (let s = 2; s <= 60; s += 1) rate.add(2000 + s * 10, s * 1000);
    assert.equal(rate.add(2610, 61_000), 10);
  });

  it('stays small and fast with a hundred thousand updates', () => {
    const rate = new Rate();
    const began = performance.now();
    for (let i = 0; i < 100_000; i += 1) rate.add(i, i / 10);
    assert.ok(performance.now() - began < 500);
    assert.equal(Math.round(rate.add(100_000, 10_000) ?? 0), 10_000);
  });
});
