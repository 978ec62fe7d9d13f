import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Backoff } from '../../../src/lib/concurrency/backoff.ts';

const pauses = (backoff: Backoff, count: number): number[] =>
  Array.from({ length: count }, () => backoff.next());

describe('the pauses between attempts that fail', () => {
  it('double from the first to the longest', () => {
    const backoff = new Backoff({ first: 1000, longest: 60_000, random: () => 0 });
    assert.deepEqual(pauses(backoff, 8), [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  it('are shortened by chance, by at most a half', () => {
    const backoff = new Backoff({ first: 1000, longest: 60_000, random: () => 0.999 });
    assert.ok(pauses(backoff, 1000).every((pause) => pause >= 500 && pause <= 30_100));
  });

  it('begin again after a success', () => {
    const backoff = new Backoff({ first: 1000, longest: 60_000, random: () => 0 });
    pauses(backoff, 5);
    backoff.reset();
    assert.equal(backoff.next(), 1000);
  });
});
