/** A Git host that refuses receipts or cannot be reached: the answer is final, and is pushed once. */
import assert from 'node:assert/strict';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { before, describe, it } from 'node:test';
import { SignpipeError, type ErrorKind } from '../../../src/lib/errors.ts';
import { sha256, soundZip, startSigner } from './test-signer.ts';

const signer = await startSigner();

describe('a Git host', () => {
  before(() => signer.signsNext());

  const pollFails = (kind: ErrorKind, code: string, says: RegExp, hint: RegExp): Promise<void> =>
    assert.rejects(signer.poll(), (error) => {
      assert.ok(error instanceof SignpipeError, String(error));
      assert.deepEqual([error.kind, error.code], [kind, code]);
      assert.match(error.message, says);
      assert.match(error.hint ?? '', hint);
      return true;
    });

  const hook = (): string => `${signer.world.control}/hooks/pre-receive`;
  const refuseReceipts = (): Promise<void> =>
    writeFile(
      hook(),
      '#!/bin/sh\ngrep -q refs/heads/signed && echo "receipts are closed" >&2 && exit 1\nexit 0\n',
      {
        mode: 0o755,
      },
    );

  const modified = async (name: string): Promise<number> =>
    (await stat(signer.world.exchange('signed', name))).mtimeMs;

  for (const [what, between] of [
    ['the same signer', () => Promise.resolve()],
    ['a restarted signer', () => signer.restart()],
  ] as const)
    it(`git-refused: after refusing a receipt, gets the same one later from ${what}; the file is delivered once`, async () => {
      const name = `closed-${what.length}.zip`;
      await refuseReceipts();
      const request = await signer.send(name, soundZip(what.length));
      const behind = await signer.sendSound();
      await pollFails(
        'not-allowed',
        'git-refused',
        /receipts are closed/,
        /may this key write to this branch/,
      );
      const delivered = (await signer.delivered()).get(name);
      const at = await modified(name);
      assert.notEqual(delivered, undefined);
      assert.deepEqual([await signer.receiptsFor(request), await signer.receiptsFor(behind)], [[], []]);
      await pollFails('not-allowed', 'git-refused', /receipts are closed/, /./);
      await between();
      await rm(hook());
      await signer.poll();
      const { receipt } = await signer.receiptFor(request);
      assert.equal(receipt.outcome, 'signed');
      assert.equal(receipt.files[0]?.output?.sha256, delivered);
      assert.equal((await signer.delivered()).get(name), delivered);
      assert.equal(await modified(name), at, 'delivered once');
      assert.equal((await signer.receiptFor(behind)).receipt.outcome, 'signed');
      await signer.assertIdle();
    });

  it('git-refused: after refusing the receipt of a refusal, gets that later, too', async () => {
    await refuseReceipts();
    const request = await signer.ask(`${sha256(soundZip(9))}  never-uploaded.zip\n`);
    await pollFails('not-allowed', 'git-refused', /receipts are closed/, /./);
    await signer.put('never-uploaded.zip', soundZip(9));
    await rm(hook());
    await signer.poll();
    assert.equal((await signer.receiptFor(request)).receipt.reason?.code, 'exchange-file-missing');
    assert.ok(!(await signer.delivered()).has('never-uploaded.zip'));
    await signer.signsNext();
  });

  it('is tried at each poll while it is down, and the request is answered when it is back', async () => {
    const request = await signer.send('gone.zip', soundZip(10));
    await rename(signer.world.control, `${signer.world.control}.aside`);
    await pollFails('usage', 'git-no-repository', /control\.git/, /control\.url/);
    await rename(`${signer.world.control}.aside`, signer.world.control);
    await signer.signs(request);
  });

  it('gets no second receipt after it accepted a push without saying so', async () => {
    const hookAfter = `${signer.world.control}/hooks/post-receive`;
    // The push has happened when the host kills the connection's server.
    await writeFile(hookAfter, '#!/bin/sh\nkill -9 $PPID\n', { mode: 0o755 });
    const request = await signer
      .send('unheard.zip', soundZip(11))
      .catch(() => signer.world.git('rev-parse', 'main'));
    await signer.poll().catch(() => {});
    await rm(hookAfter);
    await signer.signs(request);
    await signer.signsNext();
  });
});
