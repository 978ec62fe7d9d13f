import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SignerContext } from '../../../../src/app/signer/context/signer-context.ts';
import { Housekeeper } from '../../../../src/app/signer/housekeeping/housekeeper.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('the signer in quiet times', () => {
  const done: string[] = [];
  let now = 0;
  let unanswered: string[] = [];
  const context = {
    config: { housekeeping: { incoming: 1, outgoing: 1 }, exchange: { incoming: 'in', outgoing: 'out' } },
    repository: { maintain: () => void done.push('packs') },
    exchange: { list: () => Promise.reject(new Error(`lists at ${now / MINUTE}`)) },
  } as unknown as SignerContext;
  const housekeeper = new Housekeeper(context, { unanswered: () => unanswered, now: () => now });
  const stepAt = async (at: number): Promise<string[]> => {
    now = at;
    await housekeeper.step().catch(({ message }: Error) => done.push(message));
    return done.splice(0);
  };

  it('looks through the exchange ten minutes after its start, then once a day, also after a failure', async () => {
    assert.deepEqual(await stepAt(9 * MINUTE), []);
    assert.deepEqual(await stepAt(10 * MINUTE), ['lists at 10']);
    assert.deepEqual(await stepAt(11 * MINUTE), []);
  });

  it('joins packs once an hour, but not while a request waits', async () => {
    unanswered = ['request'];
    assert.deepEqual(await stepAt(HOUR), []);
    unanswered = [];
    assert.deepEqual(await stepAt(HOUR + MINUTE), ['packs']);
    assert.deepEqual(await stepAt(HOUR + 2 * MINUTE), []);
    assert.deepEqual(await stepAt(24 * HOUR + 10 * MINUTE), ['packs']);
    assert.deepEqual(await stepAt(24 * HOUR + 11 * MINUTE), ['lists at 1451']);
  });
});
