import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { notAllowed, SignpipeError, unavailable, type ErrorKind } from '../../../../src/lib/errors.ts';
import type { Receipt, ReceiptFile } from '../../../../src/protocol/control/receipt-schema.ts';
import {
  reasonOf,
  requireValidReceipt,
  undeliveredOf,
} from '../../../../src/app/signer/request/receipt-draft.ts';

const HASH = 'ab'.repeat(32);
const CONTENTS = { size: 1, sha256: HASH };

const fileOf = (name: string, paths: readonly string[]): ReceiptFile => ({
  input: { name, ...CONTENTS },
  output: { name, ...CONTENTS },
  entries: paths.length,
  signed: paths.map((path) => ({
    path,
    before: CONTENTS,
    after: CONTENTS,
    authenticode: { algorithm: 'sha256', digest: HASH },
    timestamp: null,
    signature: `signatures/${HASH}.p7`,
  })),
  kept: [],
});

const receiptFor = (files: ReceiptFile[]): Receipt => {
  const time = '2026-01-01T00:00:00.000Z';
  const request = { id: 'c'.repeat(40), signer: null, key: null, requestedAt: time, channel: 'default' };
  const times = { requested: time, seen: time, answered: time };
  return { version: 1, signpipe: '0', request, outcome: 'signed', test: true, vouches: [], files, times };
};

describe('a receipt', () => {
  it('is accepted with the right shape and up to 16 MiB', () => {
    requireValidReceipt(receiptFor([fileOf('a.zip', ['a.exe'])]));
  });

  const refused = (receipt: Receipt, kind: ErrorKind, code: string): void =>
    assert.throws(
      () => requireValidReceipt(receipt),
      (error) => error instanceof SignpipeError && error.kind === kind && error.code === code,
    );

  it('receipt-too-large: 4,500 programs deep in folders', () => {
    const paths = Array.from({ length: 4500 }, (_, i) => `${'d'.repeat(4000)}/${i}.exe`);
    refused(receiptFor([fileOf('a.zip', paths)]), 'not-allowed', 'receipt-too-large');
  });

  it('receipt-unsound: a text that is longer than readers accept', () => {
    const file = { ...fileOf('a.zip', []), kept: [{ path: 'a', signer: 'x'.repeat(5000) }] };
    refused(receiptFor([file]), 'local', 'receipt-unsound');
  });
});

describe('the receipt of files that could not be delivered', () => {
  it('names every signature that was on its way, and as output only delivered files', () => {
    const receipt = receiptFor([fileOf('a.zip', ['a.exe']), fileOf('b.zip', ['b.exe'])]);
    const failed = undeliveredOf(receipt, ['a.zip'], unavailable('exchange-refused', 'b.zip: no'));
    assert.equal(failed.outcome, 'failed');
    assert.equal(failed.reason?.message, 'b.zip: no; delivered before that: a.zip');
    assert.deepEqual(
      failed.files.map(({ output, signed }) => [output?.name, signed.length]),
      [
        ['a.zip', 1],
        [undefined, 1],
      ],
    );
  });
});

describe('the reason in a receipt, which a builder reads', () => {
  const hintOf = (hint: string): string => reasonOf(notAllowed('some-code', 'no', { hint })).hint ?? '';

  it('names the operator if the advice is about the configuration of the signer', () => {
    assert.match(hintOf('raise limits.archive'), /^for the signer's operator: raise limits\.archive; /);
    assert.match(hintOf('exclude it from signing.files with "!"'), /^for the signer's operator: exclude /);
  });

  it('never asks a builder to change the lists of the signer', () => {
    assert.match(
      hintOf('add git to its line in the allowed signers'),
      /^for the signer's operator: add git /,
    );
    for (const code of ['commit-signer-unknown', 'commit-signer-expired', 'not-a-program']) {
      const { hint } = reasonOf(notAllowed(code, 'no', { hint: 'add it to the allowed signers' }));
      assert.match(hint ?? '', /ask the signer's operator to /, code);
    }
  });

  it('leaves advice for the builder as it is', () => {
    assert.match(hintOf('build it again'), /^build it again; this answer is final/);
    assert.match(
      hintOf("ask the signer's operator about trust.names"),
      /^ask the signer's operator about trust/,
    );
  });

  it('says for a refusal, but not for a passing failure, that a new request is needed', () => {
    assert.match(hintOf('x'), /once that is settled, submit a new request$/);
    assert.doesNotMatch(reasonOf(unavailable('c', 'm', { hint: 'x' })).hint ?? '', /final/);
  });
});
