import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadSdk } from '../../../../src/engine/keys/cloud/load-sdk.ts';
import { refuses } from '../refusal.ts';

describe('the SDK of a service', () => {
  it('is loaded', async () => {
    assert.equal(await loadSdk(['sdk'], () => Promise.resolve(7)), 7);
  });

  it('key-sdk-missing: names the command that installs it', async () => {
    const missing = 'signpipe-has-no-such-package';
    const error = await refuses('key-sdk-missing', () => loadSdk([missing], () => import(missing)));
    assert.match(
      error.message,
      /this kind of key needs signpipe-has-no-such-package, which is not installed/,
    );
    assert.match(error.hint ?? '', /^run npm install --no-save signpipe-has-no-such-package in \//);
  });

  it('key-sdk-unusable: there, but not fit for this version of Node', async () => {
    const work = () => loadSdk(['sdk'], () => Promise.reject(new SyntaxError('Unexpected token')));
    const error = await refuses('key-sdk-unusable', work);
    assert.match(error.message, /Unexpected token/);
    assert.match(error.hint ?? '', new RegExp(process.versions.node));
  });
});
