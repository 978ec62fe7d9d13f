import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { withDeadline } from '../../../src/lib/concurrency/deadline.ts';

const never = new Promise<string>(() => {});
const tooLate = (): never => {
  throw new Error('too late');
};

describe('a deadline', () => {
  it('leaves work that ends in time alone, and holds the process no longer than that', async () => {
    assert.equal(await withDeadline(Promise.resolve('done'), 600_000, tooLate), 'done');
    await assert.rejects(withDeadline(Promise.reject(new Error('it fails')), 600_000, tooLate), /it fails/);
  });

  it('gives what `late` returns or throws otherwise', async () => {
    assert.equal(await withDeadline(never, 1, () => 'instead'), 'instead');
    await assert.rejects(withDeadline(never, 1, tooLate), /too late/);
  });

  it('ignores work that fails afterwards', async () => {
    const failing = sleep(5).then(() => Promise.reject(new Error('unhandled')));
    assert.equal(await withDeadline<unknown>(failing, 1, () => 'instead'), 'instead');
    await sleep(20);
  });
});
