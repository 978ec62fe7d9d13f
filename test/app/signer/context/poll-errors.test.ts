import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { PollErrors } from '../../../../src/app/signer/context/poll-errors.ts';
import { unavailable } from '../../../../src/lib/errors.ts';

describe('the log of errors of polls', () => {
  const logged: string[] = [];
  let now = 0;
  const write = (line: string): void => void logged.push((JSON.parse(line) as { msg: string }).msg);
  const errors = new PollErrors(pino({}, { write }), () => now);

  it('has an error that repeats once a minute, and each other one at once', () => {
    for (; now < 120_000; now += 500) errors.report(unavailable('git-unreachable', 'away'));
    errors.report(unavailable('git-unreachable', 'refused'));
    assert.deepEqual(logged.splice(0), ['away', 'away', 'refused']);
  });

  it('has it again after a success', () => {
    errors.forget();
    errors.report(unavailable('git-unreachable', 'away'));
    assert.deepEqual(logged.splice(0), ['away']);
  });

  it('remembers only some of them, since a host can word each differently', () => {
    for (let count = 0; count < 10_000; count += 1) errors.report(new Error(`error ${count}`));
    logged.length = 0;
    errors.report(new Error('error 9999'));
    errors.report(new Error('error 1'));
    assert.deepEqual(logged, ['error 1']);
  });
});
