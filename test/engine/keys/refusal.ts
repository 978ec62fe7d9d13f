import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { SignpipeError } from '../../../src/lib/errors.ts';

/** The passphrase of the tests, which no error may show. */
export const PASSPHRASE = 'open sesame 4711';

/** Asserts a usage error with this code that does not show the passphrase, nor do its causes. */
export async function refuses(code: string, work: () => unknown): Promise<SignpipeError> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof SignpipeError, inspect(error));
    assert.equal(error.code, code, inspect(error));
    assert.equal(error.kind, 'usage');
    for (const secret of [PASSPHRASE, 'wrong one 0815'])
      assert.ok(!inspect(error, { depth: 10 }).includes(secret), 'the error shows the passphrase');
    return error;
  }
  assert.fail(`not refused; expected ${code}`);
}
