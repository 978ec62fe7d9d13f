import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as later } from 'node:timers/promises';
import { Turns } from '../../../src/lib/concurrency/semaphore.ts';

/** Counts those at work, and how many there were at the most. */
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

describe('Turns', () => {
  it('lets no more work at a time than it has places, and all in their order', async () => {
    const [turns, work, begun] = [new Turns(3), new Count(), [] as number[]];
    const task = async (n: number): Promise<void> => {
      begun.push(n);
      work.enter();
      await later();
      work.leave();
    };
    const all = Array.from({ length: 10 }, (_, n) => n);
    await Promise.all(all.map((n) => turns.run(() => task(n))));
    assert.equal(work.most, 3);
    assert.deepEqual(begun, all);
  });

  it('gives the place of one that steps aside to the next, and has it wait for another', async () => {
    const [turns, work, aside] = [new Turns(2), new Count(), new Count()];
    const task = async (): Promise<void> => {
      work.enter();
      await later();
      work.leave();
      await turns.aside(async () => {
        aside.enter();
        for (let n = 0; n < 20; n += 1) await later();
        aside.leave();
      });
      work.enter();
      await later();
      work.leave();
    };
    await Promise.all(Array.from({ length: 10 }, () => turns.run(task)));
    assert.equal(work.most, 2);
    assert.equal(aside.most, 10);
  });

  it('keeps its places when tasks fail, at work or aside', async () => {
    const turns = new Turns(1);
    const fail = (): Promise<never> => Promise.reject(new Error('it fails'));
    await assert.rejects(turns.run(fail), /it fails/);
    await assert.rejects(
      turns.run(() => turns.aside(fail)),
      /it fails/,
    );
    assert.equal(await turns.run(() => Promise.resolve('done')), 'done');
  });
});
