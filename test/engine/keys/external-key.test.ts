import { before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { externalKey } from '../../../src/engine/keys/external-key.ts';
import { invalid, usage } from '../../../src/lib/errors.ts';
import { createTestCertificate, type TestIdentity } from '../../../src/sandbox/certificates.ts';

let identity: TestIdentity;
before(async () => {
  identity = await createTestCertificate({ commonName: 'Us', purpose: 'code-signing', key: 'p256' });
});

describe('a key that signs elsewhere', () => {
  it('does not try the calls that waited while one failed: a wrong PIN is not tried once for each program', async () => {
    let calls = 0;
    const signDigest = (): Promise<{ value: Buffer }> => {
      calls += 1;
      return calls === 1
        ? Promise.reject(usage('key-denied', 'wrong PIN'))
        : Promise.resolve({ value: Buffer.of(1) });
    };
    const key = externalKey(
      { concurrency: 1, signDigest, close: () => Promise.resolve() },
      { leaf: identity.certificate, others: [], what: 'key' },
    );
    const queued = [1, 2, 3].map(() => key.sign('sha256', Buffer.from('data')));
    for (const each of queued) await assert.rejects(each, { code: 'key-denied' });
    assert.equal(calls, 1);
    assert.deepEqual((await key.sign('sha256', Buffer.from('later'))).value, Buffer.of(1));
  });

  it('key-signature-wrong: an answer that is broken is no fault of the request, which `invalid` would reject', async () => {
    const key = externalKey(
      {
        concurrency: 1,
        signDigest: () => Promise.reject(invalid('der-malformed', 'the answer: not DER')),
        close: () => Promise.resolve(),
      },
      { leaf: identity.certificate, others: [], what: 'key' },
    );
    await assert.rejects(key.sign('sha256', Buffer.from('data')), {
      code: 'key-signature-wrong',
      kind: 'local',
      message: 'the answer of the signing key cannot be used: the answer: not DER',
    });
  });
});
