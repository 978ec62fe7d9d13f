import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as later } from 'node:timers/promises';
import { mapConcurrently } from '../../../src/lib/concurrency/map-concurrently.ts';

describe('mapConcurrently', () => {
  it('returns the results in the order of the items, with a limited number of calls in flight', async () => {
    let [inFlight, most] = [0, 0];
    const results = await mapConcurrently([5, 1, 3, 2, 4], 2, async (n) => {
      most = Math.max(most, (inFlight += 1));
      for (let turn = 0; turn < n; turn += 1) await later();
      inFlight -= 1;
      return n * 10;
    });
    assert.deepEqual(results, [50, 10, 30, 20, 40]);
    assert.equal(most, 2);
  });

  it('begins nothing after a failure, and throws the first one when all calls have ended', async () => {
    const [begun, ended]: [number[], number[]] = [[], []];
    const mapping = mapConcurrently([1, 2, 3, 4, 5], 3, async (n) => {
      begun.push(n);
      for (let turn = 0; turn < (n === 2 ? 1 : 5); turn += 1) await later();
      ended.push(n);
      if (n !== 1) throw new Error(`item ${n}`);
    });
    await assert.rejects(mapping, /item 2/);
    assert.deepEqual(begun, [1, 2, 3]);
    assert.deepEqual(ended, [2, 1, 3]);
  });
});
