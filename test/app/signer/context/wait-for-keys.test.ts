import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { once } from 'node:events';
import { pino } from 'pino';
import { KeyUnavailable } from '../../../../src/engine/keys/signing-key.ts';
import { openWhenKeysAreThere } from '../../../../src/app/signer/context/wait-for-keys.ts';
import { SignpipeError, unavailable, usage } from '../../../../src/lib/errors.ts';

const missing = (message = 'not there'): KeyUnavailable => new KeyUnavailable('token-missing', message);

/** Fails with these errors, and then opens. */
function failing(...errors: Error[]): { open: () => Promise<string>; tries: () => number } {
  let tries = 0;
  const open = async (): Promise<string> => {
    await Promise.resolve();
    const error = errors[tries];
    tries += 1;
    if (error) throw error;
    return 'open';
  };
  return { open, tries: () => tries };
}

function options(more: { signal?: AbortSignal; firstPause?: number } = {}) {
  const logged: string[] = [];
  const log = pino({ base: null }, { write: (line: string) => void logged.push(line) });
  const listening: AbortSignal[] = [];
  const now = async (signal: AbortSignal): Promise<void> => {
    listening.push(signal);
    await once(signal, 'abort');
  };
  return { log, logged, listening, now, signal: new AbortController().signal, firstPause: 1, ...more };
}

describe('a signer whose key or host cannot be reached at its start', () => {
  it('tries until it can be, logs each error once, and stops listening after each pause', async () => {
    const given = options();
    const key = failing(missing(), missing(), missing('another'));
    assert.equal(await openWhenKeysAreThere(key.open, given), 'open');
    assert.equal(key.tries(), 4);
    assert.equal(given.logged.length, 2);
    assert.equal(given.listening.length, 3);
    assert.ok(given.listening.every(({ aborted }) => aborted));
  });

  it('waits in the same way for a host', async () => {
    const given = options();
    const host = failing(unavailable('host-unreachable', 'the host is away'));
    assert.equal(await openWhenKeysAreThere(host.open, given), 'open');
    assert.match(given.logged[0] ?? '', /the signer begins when the host can be reached/);
  });

  it('does not wait for what a person has to mend', async () => {
    const key = failing(missing(), usage('pin-wrong', 'the PIN is wrong'));
    const code = await openWhenKeysAreThere(key.open, options()).catch((error: SignpipeError) => error.code);
    assert.equal(code, 'pin-wrong');
  });

  it('ends at once when it is stopped', async () => {
    const stop = new AbortController();
    const key = failing(missing());
    const opened = openWhenKeysAreThere(key.open, options({ signal: stop.signal, firstPause: 60_000 }));
    setTimeout(() => stop.abort(), 20);
    assert.equal(await opened, null);
    assert.equal(key.tries(), 1);
  });
});
