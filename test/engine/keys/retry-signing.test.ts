import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { retrySigning } from '../../../src/engine/keys/retry-signing.ts';
import { KeyUnavailable } from '../../../src/engine/keys/signing-key.ts';
import { usage } from '../../../src/lib/errors.ts';

const away = (retryAfterMs?: number): KeyUnavailable =>
  new KeyUnavailable('key-away', 'the service is away', { retryAfterMs });

/** Fails with each error in turn, then resolves to `signed`. */
function failing(...errors: readonly Error[]): {
  readonly calls: () => number;
  readonly attempt: () => Promise<string>;
} {
  let calls = 0;
  return {
    calls: () => calls,
    // eslint-disable-next-line require-await -- an error has to reject
    attempt: async () => {
      const error = errors[calls++];
      if (error) throw error;
      return 'signed';
    },
  };
}

describe('a signature that fails', () => {
  it('is tried again while the key is unavailable', async () => {
    const { attempt, calls } = failing(away(), away());
    assert.equal(await retrySigning(attempt, { firstPause: 1 }), 'signed');
    assert.equal(calls(), 3);
  });

  it('is tried five times in all, and the last error is thrown', async () => {
    const last = away();
    const { attempt, calls } = failing(away(), away(), away(), away(), last, away());
    await assert.rejects(retrySigning(attempt, { firstPause: 1 }), (error) => error === last);
    assert.equal(calls(), 5);
  });

  it('is not tried again after any other error', async () => {
    const denied = usage('key-denied', 'access denied');
    const { attempt, calls } = failing(denied);
    await assert.rejects(retrySigning(attempt, { firstPause: 1 }), (error) => error === denied);
    assert.equal(calls(), 1);
  });

  it('waits as long as the service asks', async () => {
    const { attempt } = failing(away(200));
    const begun = performance.now();
    await retrySigning(attempt, { firstPause: 1 });
    assert.ok(performance.now() - begun >= 199);
  });

  it('is given up at once if the service asks to wait for more than a minute', async () => {
    const { attempt, calls } = failing(away(60_001));
    await assert.rejects(retrySigning(attempt, { firstPause: 1 }), { code: 'key-away' });
    assert.equal(calls(), 1);
  });

  it('is given up when the key is closed during a pause', async () => {
    const reason = usage('key-closed', 'closed');
    for (const error of [away(), away(50_000)]) {
      const closing = new AbortController();
      const waiting = retrySigning(failing(error).attempt, { firstPause: 50_000, signal: closing.signal });
      setTimeout(() => closing.abort(reason), 20);
      await assert.rejects(waiting, (thrown: unknown) => thrown === reason);
    }
  });

  it('may be one of many in flight that one signal ends, without a warning about a leak', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error): void => void warnings.push(warning);
    process.on('warning', listen);
    const closing = new AbortController();
    const options = { firstPause: 1000, signal: closing.signal };
    const attempts = Array.from({ length: 64 }, () => retrySigning(failing(away()).attempt, options));
    await new Promise((resolve) => setTimeout(resolve, 20));
    closing.abort(new Error('closed'));
    for (const each of await Promise.allSettled(attempts)) assert.equal(each.status, 'rejected');
    process.off('warning', listen);
    assert.deepEqual(warnings, []);
  });
});
