import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import type { SignerConfig } from '../../../../src/app/config/signer.ts';
import { Movement } from '../../../../src/app/signer/supervisor/movement.ts';
import { getsOn, longestStillness, startWatchdog } from '../../../../src/app/signer/supervisor/watchdog.ts';
import { noProgress, withProgressBar } from '../../../../src/lib/progress.ts';

interface Ended {
  readonly code: string;
  readonly msg: string;
}

/** Does `work` under a watchdog; returns what it logged before it would have ended the process. */
async function watched(limit: number, work: (movement: Movement) => Promise<unknown>): Promise<Ended[]> {
  const ended: Ended[] = [];
  const movement = new Movement();
  const log = pino({}, { write: (line: string) => void ended.push(JSON.parse(line) as Ended) });
  const stop = startWatchdog({ movement, limit, log, end: () => stop() });
  await work(movement);
  stop();
  return ended;
}

/** A transfer that reports `done` bytes every few ms. */
const transfer = (movement: Movement, done: (step: number) => number): Promise<void> =>
  withProgressBar(movement.watching(noProgress), 'fetch product.zip', 'bytes', async (update) => {
    for (let step = 0; step < 10; step += 1) {
      update(done(step), 100);
      await sleep(30);
    }
  });

describe('the watchdog', () => {
  it('ends a signer whose stage does not move, and names the stage: signer-stuck', async () => {
    const [ended] = await watched(100, (movement) => transfer(movement, () => 7));
    assert.equal(ended?.code, 'signer-stuck');
    assert.match(ended?.msg ?? '', /^fetch product\.zip: nothing has moved for \d+ s$/);
  });

  it('leaves a slow transfer alone as long as bytes arrive, and not one that begins again and again', async () => {
    let now = 0;
    const movement = new Movement(() => now);
    const alive: boolean[] = [];
    await withProgressBar(movement.watching(noProgress), 'fetch product.zip', 'bytes', async (update) => {
      await Promise.resolve();
      for (const done of [1, 2, 3, 3, 3]) {
        now += 99;
        alive.push(getsOn({ movement, limit: 100 }));
        update(done, 100);
      }
      now += 99;
      alive.push(getsOn({ movement, limit: 100 }));
    });
    assert.deepEqual(alive, [true, true, true, true, false, false]);
  });

  it('does nothing if it is switched off', async () => {
    assert.deepEqual(await watched(0, () => sleep(50)), []);
  });

  it('waits as long as a key may take for one signature, twice', () => {
    const configured = (watchdog: number, signing: object): SignerConfig =>
      ({ watchdog, channels: new Map([['default', { signing }]]) }) as unknown as SignerConfig;
    const config = (watchdog: number, keyTimeout?: number): SignerConfig =>
      configured(watchdog, { keyTimeout });
    const token = { key: 'pkcs11:token=T?module-path=/lib/p.so&x-timeout=600', keyTimeout: 1000 };
    assert.equal(longestStillness(configured(60_000, token)), 1_200_000, 'also if its URI says so');
    assert.equal(longestStillness(configured(60_000, { successor: token })), 1_200_000, 'also the next key');
    assert.equal(longestStillness(configured(60_000, { key: 'pkcs11:wrong' })), 60_000);
    assert.equal(longestStillness(config(1_800_000)), 1_800_000);
    assert.equal(longestStillness(config(1_800_000, 3_600_000)), 7_200_000);
    assert.equal(longestStillness(config(0, 3_600_000)), 0);
  });
});
