import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as later } from 'node:timers/promises';
import { Semaphore } from '../../../src/lib/concurrency/semaphore.ts';

/** Counts the tasks at work, and the largest number of them. */
class Count {
  now = 0;
  most = 0;

  enter(): void {
    this.most = Math.max(this.most, (this.now += 1));
  }

  leave(): void {
    this.now -= 1;
  }
}

describe('Semaphore', () => {
  it('limits how many tasks work at a time, and starts them in order', async () => {
    const [semaphore, work, begun] = [new Semaphore(3), new Count(), [] as number[]];
    const task = async (n: number): Promise<void> => {
      begun.push(n);
      work.enter();
      await later();
      work.leave();
    };
    const all = Array.from({ length: 10 }, (_, n) => n);
    await Promise.all(all.map((n) => semaphore.run(() => task(n))));
    assert.equal(work.most, 3);
    assert.deepEqual(begun, all);
  });

  it('lets the next task run while one waits outside, which then queues for a place again', async () => {
    const [semaphore, work, outside] = [new Semaphore(2), new Count(), new Count()];
    const task = async (): Promise<void> => {
      work.enter();
      await later();
      work.leave();
      await semaphore.releaseDuring(async () => {
        outside.enter();
        for (let n = 0; n < 20; n += 1) await later();
        outside.leave();
      });
      work.enter();
      await later();
      work.leave();
    };
    await Promise.all(Array.from({ length: 10 }, () => semaphore.run(task)));
    assert.equal(work.most, 2);
    assert.equal(outside.most, 10);
  });

  it('takes a new limit, higher at once and lower as tasks end', async () => {
    const [semaphore, work] = [new Semaphore(1), new Count()];
    const ends: (() => void)[] = [];
    const task = async (): Promise<void> => {
      work.enter();
      await new Promise<void>((resolve) => ends.push(resolve));
      work.leave();
    };
    const all = Array.from({ length: 6 }, () => semaphore.run(task));
    await later();
    assert.equal(work.now, 1);
    semaphore.limit = 3;
    await later();
    assert.equal(work.now, 3);
    semaphore.limit = 2;
    for (const now of [2, 2, 2, 2, 1, 0]) {
      ends.shift()?.();
      await later();
      assert.equal(work.now, now);
    }
    await Promise.all(all);
  });

  it('keeps its places when tasks fail, at work or waiting', async () => {
    const semaphore = new Semaphore(1);
    const fail = (): Promise<never> => Promise.reject(new Error('it fails'));
    await assert.rejects(semaphore.run(fail), /it fails/);
    await assert.rejects(
      semaphore.run(() => semaphore.releaseDuring(fail)),
      /it fails/,
    );
    assert.equal(await semaphore.run(() => Promise.resolve('done')), 'done');
  });
});
