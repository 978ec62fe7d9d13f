/** A Git host that refuses receipts or cannot be reached: the answer stands, and gets out once. */
import assert from 'node:assert/strict';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { SignpipeError, type ErrorKind } from '../../../src/lib/errors.ts';
import { Desk, sha256, soundZip } from './refusal-site.ts';

describe('a Git host', () => {
  let desk: Desk;
  before(async () => {
    desk = await Desk.open();
    await desk.signsNext();
  });
  after(() => desk.close());

  const pollFails = (kind: ErrorKind, code: string, says: RegExp, hint: RegExp): Promise<void> =>
    assert.rejects(desk.poll(), (error) => {
      assert.ok(error instanceof SignpipeError, String(error));
      assert.deepEqual([error.kind, error.code], [kind, code]);
      assert.match(error.message, says);
      assert.match(error.hint ?? '', hint);
      return true;
    });

  const hook = (): string => `${desk.world.control}/hooks/pre-receive`;
  const refuseReceipts = (): Promise<void> =>
    writeFile(
      hook(),
      '#!/bin/sh\ngrep -q refs/heads/signed && echo "receipts are closed" >&2 && exit 1\nexit 0\n',
      {
        mode: 0o755,
      },
    );

  const modified = async (name: string): Promise<number> =>
    (await stat(desk.world.exchange('signed', name))).mtimeMs;

  for (const [what, between] of [
    ['the same signer', () => Promise.resolve()],
    ['a signer started anew', () => desk.restart()],
  ] as const)
    it(`git-refused: that refuses a receipt gets the same one later from ${what}; the file is delivered once`, async () => {
      const name = `closed-${what.length}.zip`;
      await refuseReceipts();
      const request = await desk.send(name, soundZip(what.length));
      const behind = await desk.sendSound();
      await pollFails(
        'not-allowed',
        'git-refused',
        /receipts are closed/,
        /may this key write to this branch/,
      );
      const delivered = (await desk.delivered()).get(name);
      const at = await modified(name);
      assert.notEqual(delivered, undefined);
      assert.deepEqual([await desk.receiptsFor(request), await desk.receiptsFor(behind)], [[], []]);
      await pollFails('not-allowed', 'git-refused', /receipts are closed/, /./);
      await between();
      await rm(hook());
      await desk.poll();
      const { told } = await desk.receiptFor(request);
      assert.equal(told.outcome, 'signed');
      assert.equal(told.files[0]?.output?.sha256, delivered);
      assert.equal((await desk.delivered()).get(name), delivered);
      assert.equal(await modified(name), at, 'delivered once');
      assert.equal((await desk.receiptFor(behind)).told.outcome, 'signed');
      await desk.assertIdle();
    });

  it('git-refused: that refuses a refusal gets that later, too', async () => {
    await refuseReceipts();
    const request = await desk.ask(`${sha256(soundZip(9))}  never-uploaded.zip\n`);
    await pollFails('not-allowed', 'git-refused', /receipts are closed/, /./);
    await desk.put('never-uploaded.zip', soundZip(9));
    await rm(hook());
    await desk.poll();
    assert.equal((await desk.receiptFor(request)).told.reason?.code, 'exchange-file-missing');
    assert.ok(!(await desk.delivered()).has('never-uploaded.zip'));
    await desk.signsNext();
  });

  it('that is gone is looked for at each poll, and the request is answered when it is back', async () => {
    const request = await desk.send('gone.zip', soundZip(10));
    await rename(desk.world.control, `${desk.world.control}.aside`);
    await pollFails('usage', 'git-no-repository', /control\.git/, /control\.url/);
    await rename(`${desk.world.control}.aside`, desk.world.control);
    await desk.poll();
    assert.equal((await desk.receiptFor(request)).told.outcome, 'signed');
  });

  it('that takes the push and loses its answer gets no second receipt', async () => {
    const hookAfter = `${desk.world.control}/hooks/post-receive`;
    // The push has happened when the host kills the connection's server.
    await writeFile(hookAfter, '#!/bin/sh\nkill -9 $PPID\n', { mode: 0o755 });
    const request = await desk
      .send('unheard.zip', soundZip(11))
      .catch(() => desk.world.git('rev-parse', 'main'));
    await desk.poll().catch(() => {});
    await rm(hookAfter);
    await desk.poll();
    assert.equal((await desk.receiptFor(request)).told.outcome, 'signed');
    await desk.signsNext();
  });
});
