/** What a builder can do about a request once it is made: hold, unhold, cancel, retry. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { loadBuilderConfig, loadControlConfig } from '../../../../src/app/config/builder.ts';
import { withControlSession, withSession, type ControlSession } from '../../../../src/app/builder/session.ts';
import {
  cancel,
  type CancelRequestOptions,
  type Cancelled,
} from '../../../../src/app/builder/steering/cancel.ts';
import { hold, unhold } from '../../../../src/app/builder/steering/hold.ts';
import { retry } from '../../../../src/app/builder/steering/retry.ts';
import { removeOperatorHold, setOperatorHold } from '../../../../src/app/signer/state/operator-hold.ts';
import { SignpipeError } from '../../../../src/lib/errors.ts';
import { noProgress } from '../../../../src/lib/progress.ts';
import { rawCommit } from '../../../world/commit-copies.ts';
import { receiptFor, receiptsFor, startHostile } from '../../../world/hostile.ts';
import { assertRefused, signpipe } from '../../../world/site.ts';

const { world, host } = await startHostile();
await world.keepSigner();

const said: string[] = [];
const say = (line: string): void => void said.push(line);

const asBuilder = async <T>(work: (session: ControlSession) => Promise<T>): Promise<T> =>
  withControlSession(await loadControlConfig(world.site.builderConfig), say, work);

const cancelling = (request: string, options?: CancelRequestOptions): Promise<Cancelled> =>
  asBuilder((session) => cancel(session, request, options));

const retrying = async (request: string): Promise<string> =>
  withSession(await loadBuilderConfig(world.site.builderConfig), { progress: noProgress, say }, (session) =>
    retry(session, request),
  );

const holding = (reason: string): ReturnType<typeof hold> => asBuilder((session) => hold(session, reason));
const lifting = (again = false): ReturnType<typeof unhold> =>
  asBuilder((session) => unhold(session, { again }));

const main = (): Promise<string> => world.git('rev-parse', 'main');
const outcomes = async (request: string): Promise<(string | undefined)[]> =>
  (await receiptsFor(world, request)).map(({ outcome, reason }) => reason?.code ?? outcome);

const refusal =
  (code: string, says: RegExp) =>
  (error: unknown): true => {
    assert.ok(error instanceof SignpipeError && error.code === code, String(error));
    assert.match(`${error.message}; ${error.hint ?? ''}`, says);
    return true;
  };

describe('hold and unhold', () => {
  it('stop signing and let it go on, each in one signed commit; a second time they add nothing', async () => {
    const { commit } = await holding('Key may be stolen');
    assert.equal(await main(), commit);
    assert.equal(await world.git('show', 'main:HOLD'), 'Key may be stolen');
    assert.deepEqual(await holding('another reason'), { commit, already: true });
    const request = await host.request('held.zip');
    await world.poll();
    assert.deepEqual(await outcomes(request), []);
    const lifted = await lifting();
    assert.equal(await main(), lifted.commit);
    assert.deepEqual(await lifting(), { commit: null, putBack: false });
    await world.poll();
    assert.deepEqual(await outcomes(request), ['signed']);
  });

  it('hold stops signing also if an unsigned removal, which some signers accept, made the file go', async () => {
    const first = await holding('first');
    await host.commit({ files: { HOLD: null }, key: null });
    const second = await holding('first');
    assert.notEqual(second.commit, first.commit);
    assert.equal(second.already, false);
    await lifting();
  });

  it('hold changes the file if a merge brought it back, which stops nothing', async () => {
    const { commit } = await holding('again');
    await lifting();
    const tip = await main();
    const file = { mode: '100644', id: await world.git('rev-parse', `${commit}:HOLD`) };
    await host.commit({ message: 'Merge', parents: [tip, commit], files: { HOLD: file }, key: null });
    assert.equal((await holding('again')).already, false);
    assert.match(await world.git('show', 'main:HOLD'), /^again\n20/);
    await lifting();
  });

  it('unhold puts the file back first if its removal did not count', async () => {
    await holding('stop');
    await host.commit({ files: { HOLD: null }, key: null });
    const request = await host.request('put-back.zip');
    await world.poll();
    assert.deepEqual(await outcomes(request), []);
    assert.equal((await lifting()).putBack, true);
    await world.poll();
    assert.deepEqual(await outcomes(request), ['signed']);
  });

  it('unhold --again lifts a HOLD that a key has lifted which the signer does not allow', async () => {
    await holding('stop');
    const stranger = await host.key('stranger');
    await host.commit({ files: { HOLD: null }, key: stranger.path });
    const request = await host.request('again.zip');
    await world.poll();
    assert.deepEqual(await outcomes(request), []);
    assert.deepEqual(await lifting(), { commit: null, putBack: false });
    assert.equal((await lifting(true)).putBack, true);
    await world.poll();
    assert.deepEqual(await outcomes(request), ['signed']);
  });

  it('the signer’s operator stops that signer without a key for commits', async () => {
    const state = world.at('signer-state');
    assert.equal(await setOperatorHold(state, 'token is away'), null);
    assert.equal((await setOperatorHold(state, 'second'))?.reason, 'token is away');
    const request = await host.request('operator.zip');
    await world.poll();
    assert.deepEqual(await outcomes(request), []);
    assert.ok(
      world.logged.some(({ msg }) => /on hold by this signer's operator.*token is away/.test(String(msg))),
    );
    const seen = await signpipe(['status', '-c', world.site.signerConfig]);
    assert.match(seen.stdout, /^warning {2}on hold by this signer's operator .*token is away \[hold\]$/m);
    assert.match(seen.stdout, /operator\.zip, .*\n +on hold by this signer's operator /);
    const ended = await signpipe(['unhold', '-c', world.site.signerConfig]);
    assert.equal(ended.status, 0, ended.stderr);
    assert.equal(await removeOperatorHold(state), false);
    await world.poll();
    assert.deepEqual(await outcomes(request), ['signed']);
  });
});

describe('cancel', () => {
  it('withdraws a request by its abbreviated id; the second time it pushes nothing, and says when it worked', async () => {
    const request = await host.request('withdrawn.zip');
    const first = await cancelling(request.slice(0, 10), { reason: 'Built from the wrong branch' });
    assert.equal(first.state, 'requested');
    const message = await world.git('log', '-1', '--format=%B', 'main');
    assert.match(
      message,
      new RegExp(
        `^Cancel ${request.slice(0, 12)}\n\nBuilt from the wrong branch\n\nCancel: ${request}\nControl: `,
      ),
    );
    assert.deepEqual(await cancelling(request), first);
    assert.equal(await main(), first.cancel);
    const waiting = await world.wait(request, '--timeout', '1s');
    assertRefused(waiting, 4, 'wait-timeout', /cancelled by SHA256:.*the signer has not seen that yet/);
    await world.poll();
    assert.deepEqual(await outcomes(request), ['request-cancelled']);
    const { state, cancel: commit } = await cancelling(request);
    assert.deepEqual([state, commit], ['cancelled', null]);
    assertRefused(await world.wait(request), 3, 'request-cancelled', /cancelled by builder@sandbox/);
  });

  it('is not kept from that by commits which cancel nothing, even if they seem to be by its own key', async () => {
    const request = await host.request('pretended.zip');
    const trailer = `Cancel it\n\nCancel: ${request}\n`;
    const tip = await main();
    const genuine = await host.commit({ message: trailer, parents: [tip], branch: null });
    await host.raw((await rawCommit(world, genuine)).replace('Cancel it', 'Cancel it!'), 'main');
    await host.commit({ message: trailer, files: { note: 'x' } });
    await host.commit({ message: `${trailer}Control: ${'a'.repeat(40)}\n` });
    const { state, cancel: commit } = await cancelling(request);
    assert.equal(state, 'requested');
    assert.equal(await main(), commit);
    assert.notEqual(commit, tip);
    await world.poll();
    assert.deepEqual(await outcomes(request), ['request-cancelled']);
  });

  it('waits for the answer if it may', async () => {
    const request = await host.request('awaited.zip');
    const before = await main();
    const answer = cancelling(request, { timeout: 20_000, interval: 50 });
    while ((await main()) === before) await new Promise((done) => setTimeout(done, 20));
    await world.poll();
    const { state, receipt } = await answer;
    assert.equal(state, 'cancelled');
    assert.equal(receipt, await world.git('rev-parse', 'signed'));
  });

  it('cancel-unanswered: says that the signer has not answered in time', async () => {
    const request = await host.request('unanswered.zip');
    await assert.rejects(
      cancelling(request, { timeout: 1, interval: 1 }),
      refusal('cancel-unanswered', /signpipe wait shows/),
    );
    await world.poll();
  });

  it('cancel-too-late: says that a request was signed before, by its id or that of its receipt', async () => {
    const request = await host.request('late.zip');
    await world.poll();
    const before = await main();
    for (const id of [request, await world.git('rev-parse', 'signed')])
      await assert.rejects(cancelling(id), refusal('cancel-too-late', /do not publish them/));
    assert.equal(await main(), before);
  });

  it('has nothing to do for a request that was refused', async () => {
    const request = await host.commit({ files: { zipname: 'unpinned.zip\n' } });
    await world.poll();
    assert.equal((await cancelling(request)).state, 'rejected');
  });

  it('not-a-request: refuses other commits; request-unknown: and unknown ones', async () => {
    const id = await host.commit({ files: { note: 'x' } });
    await assert.rejects(cancelling(id), refusal('not-a-request', /does not change zipname/));
    await assert.rejects(cancelling('0123456789'), refusal('request-unknown', /was it pushed/));
  });
});

describe('retry', () => {
  it('requests the same bytes again with the same trailers, names the first request, and uploads nothing', async () => {
    const line = await host.release('again.zip');
    const message = 'Sign it\n\nSource-Revision: abc123\n';
    const request = await host.commit({ files: { zipname: line }, message });
    await assert.rejects(retrying(request), refusal('retry-unanswered', /signpipe wait/));
    await cancelling(request);
    await world.poll();
    const again = await retrying(request);
    assert.match(
      await world.git('log', '-1', '--format=%B', again),
      new RegExp(`Source-Revision: abc123\nRetry-Of: ${request}\nControl:`),
    );
    assert.match(await world.git('show', `${again}:zipname`), new RegExp(`^${line}# retry of ${request}`));
    await world.poll();
    assert.equal((await receiptFor(world, again)).request.sourceRevision, 'abc123');
    await assert.rejects(retrying(again), refusal('retry-signed', /signpipe wait/));
  });

  it('retry-upload: says which file to upload again if the exchange has it no more, or other bytes', async () => {
    const request = await host.request('gone.zip', { message: 'Sign it\n\nChannel: nowhere\n' });
    await world.poll();
    const place = world.exchange('incoming', 'gone.zip');
    await writeFile(place, await host.zip(7777));
    await assert.rejects(
      retrying(request),
      refusal('retry-upload', /gone\.zip was replaced.*signpipe submit gone\.zip/s),
    );
    await rm(place);
    await assert.rejects(
      retrying(request),
      refusal('retry-upload', /gone\.zip is no longer on the exchange/),
    );
  });

  it('retry-unreadable: refuses what can never be signed', async () => {
    const request = await host.commit({ files: { zipname: '../x\n' } });
    await world.poll();
    await assert.rejects(retrying(request), refusal('retry-unreadable', /submit the files again/));
  });
});
