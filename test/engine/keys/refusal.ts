import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { SignpipeError } from '../../../src/lib/errors.ts';

/** The passphrase that the tests look for where it must not be. */
export const PASSPHRASE = 'open sesame 4711';

/** Asserts a usage error with this code, which shows the passphrase nowhere, neither in its causes. */
export async function refuses(code: string, work: () => unknown): Promise<SignpipeError> {
  try {
    await work();
  } catch (error) {
    assert.ok(error instanceof SignpipeError, inspect(error));
    assert.equal(error.code, code, inspect(error));
    assert.equal(error.kind, 'usage');
    for (const secret of [PASSPHRASE, 'wrong one 0815'])
      assert.ok(!inspect(error, { depth: 10 }).includes(secret), 'the passphrase shows');
    return error;
  }
  assert.fail(`not refused; expected ${code}`);
}
