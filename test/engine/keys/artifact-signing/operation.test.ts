import { describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { readSigningCertificate } from '../../../../src/engine/keys/artifact-signing/certificates.ts';
import {
  explainArtifactSigning,
  readOperation,
  ServiceAnswerError,
} from '../../../../src/engine/keys/artifact-signing/operation.ts';
import { createTestCertificate } from '../../../../src/sandbox/certificates.ts';

const state = (body: unknown, operationLocation?: string) =>
  readOperation({ status: 200, retryAfterMs: undefined, operationLocation, body });

describe('the state of a signing operation', () => {
  for (const status of ['InProgress', 'in progress', 'Running', 'NotStarted'])
    it(`is pending: ${status}`, () => {
      assert.deepEqual(state({ id: 'a-1', status }), { state: 'pending', id: 'a-1' });
    });

  it('takes the name of the operation from operationId, or from Operation-Location', () => {
    assert.deepEqual(state({ operationId: 'b', status: 'InProgress' }), { state: 'pending', id: 'b' });
    const location = 'https://weu.codesigning.azure.net/x/sign/c?api-version=1';
    assert.deepEqual(state({ status: 'InProgress' }, location), { state: 'pending', id: 'c' });
  });

  it('is signed', () => {
    const result = { signature: 's', signingCertificate: 'c' };
    assert.deepEqual(state({ id: 'a', status: 'Succeeded', result }), { state: 'signed', ...result });
  });

  const wrong: [string, unknown, string, RegExp][] = [
    ['no JSON', undefined, 'answer', /not the state/],
    ['a list', [], 'answer', /not the state/],
    ['no status', { id: 'a' }, 'answer', /not the state/],
    ['no name', { status: 'InProgress' }, 'answer', /does not name/],
    ['a name that leads elsewhere', { id: '../../x', status: 'InProgress' }, 'answer', /does not name/],
    ['success without a result', { id: 'a', status: 'Succeeded' }, 'answer', /without a signature/],
    [
      'success with half a result',
      { id: 'a', status: 'Succeeded', result: { signature: 's' } },
      'answer',
      /without a signature/,
    ],
    ['an unknown status', { id: 'a', status: 'Odd\u001b' }, 'refused', /ended as Odd\\u\{1b\}/],
    [
      'failure',
      { status: 'Failed', errorDetail: { code: 'C', message: 'M' } },
      'refused',
      /ended as Failed, C: M/,
    ],
  ];
  for (const [what, body, problem, said] of wrong)
    it(`${problem}: ${what}`, () => {
      assert.throws(
        () => state(body),
        (error: unknown) => {
          assert.ok(error instanceof ServiceAnswerError);
          assert.equal(error.problem.problem, problem);
          assert.match(error.problem.said ?? '', said);
          return true;
        },
      );
    });
});

describe('an error of a call', () => {
  it('of the network may pass', () => {
    const error = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:1'), { code: 'ECONNREFUSED' });
    assert.equal(explainArtifactSigning(error).problem, 'unavailable');
  });
});

describe('the certificate that comes with a signature', () => {
  const twice = (text: string): string => Buffer.from(text).toString('base64');
  for (const [what, text] of [
    ['nothing', ''],
    ['no base64', '!'],
    ['base64 of something else', twice('hello')],
    ['no certificate', twice('MAMCAQE=')],
    ['DER that is cut', twice('MIIB')],
  ] as const)
    it(`is not read: ${what}`, async () => {
      assert.equal(await readSigningCertificate(text, 'it'), undefined);
    });

  it('is read without a bundle, and refused if it is not for code signing', async () => {
    const [good, bad] = await Promise.all(
      (['code-signing', 'timestamping'] as const).map((purpose) =>
        createTestCertificate({ commonName: 'X', purpose, key: 'p256' }),
      ),
    );
    const text = (raw: Buffer | undefined): string => twice(raw?.toString('base64') ?? '');
    const read = await readSigningCertificate(text(good?.certificate.raw), 'it');
    assert.equal(read?.leaf.sha256, good?.certificate.sha256);
    assert.equal(await readSigningCertificate(text(bad?.certificate.raw), 'it'), undefined);
  });
});
