import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { readHold, type Hold } from '../../src/control/hold.ts';
import type { ControlRepository } from '../../src/control/repository.ts';
import { git, TestControl, type TestKey } from './repositories.ts';

let world: TestControl;
let repository: ControlRepository;
let alice: TestKey;
let mallory: TestKey;
beforeEach(async () => {
  world = await TestControl.create();
  repository = await world.repository();
  [alice, mallory] = await Promise.all([world.key('alice'), world.key('mallory')]);
  await world.commit('1\n', { zipname: 'a.zip\n' }, { key: alice });
});
afterEach(() => world.close());

async function state(acceptUnsigned = false): Promise<Hold> {
  await world.push('-f', 'main');
  const { requests } = await repository.fetch();
  assert(requests);
  return readHold(repository, requests, { allowed: TestControl.allowed(alice), acceptUnsigned });
}

describe('a HOLD', () => {
  it('is not there by default', async () => {
    assert.deepEqual(await state(), {
      held: false,
      commit: null,
      by: null,
      since: null,
      reason: '',
      ignored: [],
    });
  });

  it('stops signing: by whom, since when, and why', async () => {
    const env = { GIT_COMMITTER_DATE: '2026-01-02T03:04:05Z' };
    const id = await world.commit(
      'stop\n',
      { HOLD: 'Key may be stolen\u001b[2J.\nAsk Ann.\n' },
      { key: alice, env },
    );
    await world.commit('2\n', { zipname: 'b.zip\n' }, { key: alice });
    assert.deepEqual(await state(), {
      held: true,
      commit: id,
      by: 'alice',
      since: new Date('2026-01-02T03:04:05Z'),
      reason: 'Key may be stolen\\u{1b}[2J.\nAsk Ann.',
      ignored: [],
    });
  });

  it('stops signing unsigned too: whoever writes the branch can delay anyhow', async () => {
    await world.commit('stop\n', { HOLD: 'hurry' });
    const { held, by } = await state();
    assert.deepEqual([held, by], [true, null]);
  });

  it('is lifted by a signed removal, and can be put again', async () => {
    await world.commit('stop\n', { HOLD: 'one' });
    await world.commit('go\n', { HOLD: null }, { key: alice });
    assert.equal((await state()).held, false);
    await world.commit('stop\n', { HOLD: 'two' }, { key: alice });
    assert.deepEqual((await state()).reason, 'two');
  });

  it('is not lifted by an unsigned removal, nor by one of a stranger', async () => {
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    const unsigned = await world.commit('go\n', { HOLD: null });
    const first = await state();
    assert.deepEqual([first.held, first.reason, first.ignored], [true, 'stay', [unsigned]]);
    await world.commit('stop\n', { HOLD: 'x' }, { key: mallory });
    const stranger = await world.commit('go\n', { HOLD: null }, { key: mallory });
    const second = await state();
    assert.equal(second.held, true);
    assert.deepEqual(second.ignored, [stranger, unsigned]);
    await world.commit('stop\n', { HOLD: 'x' }, { key: alice });
    await world.commit('go\n', { HOLD: null }, { key: alice });
    assert.equal((await state()).held, false);
  });

  it('is lifted by an unsigned removal only where unsigned requests are accepted', async () => {
    await world.commit('stop\n', { HOLD: 'x' });
    await world.commit('go\n', { HOLD: null });
    assert.equal((await state()).held, true);
    assert.equal((await state(true)).held, false);
  });

  it('is not lifted by a merge that lets it vanish', async () => {
    await world.git('branch', 'before');
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.git('checkout', '-q', 'before');
    await world.commit('2\n', { zipname: 'b.zip\n' }, { key: alice });
    await world.git('merge', '-q', '-s', 'ours', '-m', 'sneaky', 'main');
    await world.git('branch', '-f', 'main');
    const found = await state();
    assert.deepEqual([found.held, found.reason], [true, 'stay']);
  });

  it('is not lifted by an old signed removal that did not follow it', async () => {
    await world.commit('stop\n', { HOLD: 'one' }, { key: alice });
    await world.git('branch', 'side');
    await world.commit('why\n', { HOLD: 'two' }, { key: alice });
    await world.git('checkout', '-q', 'side');
    await world.commit('go\n', { HOLD: null }, { key: alice });
    await world.git('merge', '-q', '-s', 'ours', '-m', 'both', 'main');
    await world.git('branch', '-f', 'main');
    assert.deepEqual((await state()).reason, 'two');
  });

  it('holds whatever it is: a link, or a text too long to show', async () => {
    const blob = await world.git('rev-parse', 'HEAD:zipname');
    await git(world.work, ['update-index', '--add', '--cacheinfo', `120000,${blob},HOLD`]);
    await world.commit('link\n', {}, { key: alice });
    assert.match((await state()).reason, /not a regular file/);
    await git(world.work, ['rm', '-q', '--cached', 'HOLD']);
    await world.commit('long\n', { HOLD: 'x'.repeat(100_000) }, { key: alice });
    const { held, reason } = await state();
    assert.equal(held, true);
    assert.match(reason, /more than the 4096 allowed/);
  });
});
