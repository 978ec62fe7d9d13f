import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { AccessTokens } from '../../../../src/engine/keys/artifact-signing/access-token.ts';

const HOUR = 3_600_000;
const { signal } = new AbortController();

/** Tokens of a credential that keeps none, and numbers those that it gives. */
function tokensFor(life: number, renewAfter?: number): AccessTokens {
  let count = 0;
  const getToken = () => {
    count += 1;
    const now = Date.now();
    return Promise.resolve({
      token: `token-${count}`,
      expiresOnTimestamp: now + life,
      ...(renewAfter !== undefined && { refreshAfterTimestamp: now + renewAfter }),
    });
  };
  return new AccessTokens({ getToken }, 'scope');
}

describe('an access token', () => {
  it('is kept while it is valid: the credential may start a program for each', async () => {
    const tokens = tokensFor(HOUR);
    assert.deepEqual([await tokens.get(signal), await tokens.get(signal)], ['token-1', 'token-1']);
  });

  it('is replaced some minutes before its end, or when its issuer asks for it', async () => {
    for (const tokens of [tokensFor(240_000), tokensFor(HOUR, 0)])
      assert.deepEqual([await tokens.get(signal), await tokens.get(signal)], ['token-1', 'token-2']);
  });

  it('is replaced if the service refuses it, and not if it refuses an earlier one', async () => {
    const tokens = tokensFor(HOUR);
    tokens.forget((await tokens.get(signal)) ?? '');
    assert.equal(await tokens.get(signal), 'token-2');
    tokens.forget('token-1');
    assert.equal(await tokens.get(signal), 'token-2');
  });
});
