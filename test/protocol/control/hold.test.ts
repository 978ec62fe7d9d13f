import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { holdReason } from '../../../src/app/overview/waiting-reason.ts';
import { readHold, type Hold } from '../../../src/protocol/control/hold.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
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
      atTip: false,
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
      atTip: true,
    });
  });

  it('stops signing also if unsigned: everyone who can write the branch can delay anyway', async () => {
    await world.commit('stop\n', { HOLD: 'hurry' });
    const { held, by } = await state();
    assert.deepEqual([held, by], [true, null]);
  });

  it('is also one whose commit cannot be read: requests wait, and it can be lifted', async () => {
    const env = { GIT_COMMITTER_DATE: '@99999999999999 +0000' };
    const id = await world.commit('stop\n', { HOLD: 'odd' }, { env });
    const odd = await state();
    assert.deepEqual([odd.held, odd.commit, odd.by, odd.since], [true, id, null, null]);
    const notice = await holdReason(repository, odd, { named: true });
    assert.match(
      notice?.text ?? '',
      /^on hold \(not signed by a known key\) since an unknown time.*cannot be read/,
    );
    const early = await world.commit('go\n', { HOLD: null }, { key: alice });
    const { held, ignored } = await state();
    assert.deepEqual([held, ignored[0]?.commit], [true, early]);
    assert.match(ignored[0]?.why ?? '', /^follows a commit that cannot be read/);
    await world.commit('stop\n', { HOLD: 'again' });
    await world.commit('go\n', { HOLD: null }, { key: alice });
    assert.equal((await state()).held, false);
  });

  it('is lifted by a signed removal, and can be added again', async () => {
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
    assert.deepEqual([first.held, first.reason, first.atTip], [true, 'stay', false]);
    assert.deepEqual(first.ignored, [{ commit: unsigned, why: 'is not signed by an allowed signer' }]);
    await world.commit('stop\n', { HOLD: 'x' }, { key: mallory });
    const stranger = await world.commit('go\n', { HOLD: null }, { key: mallory });
    const second = await state();
    assert.equal(second.held, true);
    assert.deepEqual(
      second.ignored.map(({ commit }) => commit),
      [stranger, unsigned],
    );
    await world.commit('stop\n', { HOLD: 'x' }, { key: alice });
    await world.commit('go\n', { HOLD: null }, { key: alice });
    assert.equal((await state()).held, false);
  });

  it('is lifted by an unsigned removal only if unsigned requests are accepted', async () => {
    await world.commit('stop\n', { HOLD: 'x' });
    await world.commit('go\n', { HOLD: null });
    assert.equal((await state()).held, true);
    assert.equal((await state(true)).held, false);
  });

  it('is not lifted by a merge that drops it', async () => {
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

  it('stops signing also as a link, or with a text too long to show', async () => {
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

describe('a removal of HOLD by an allowed signer', () => {
  const why = async (): Promise<(string | boolean)[]> => {
    const { held, ignored } = await state();
    return [held, ...ignored.map((each) => each.why)];
  };

  it('does not count if it changes another file too', async () => {
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.commit('go\n', { HOLD: null, zipname: 'b.zip\n' }, { key: alice });
    assert.deepEqual(await why(), [true, 'changes other files too']);
  });

  it('does not count if it changes the mode of another file', async () => {
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.git('update-index', '--chmod=+x', 'zipname');
    await world.commit('go\n', { HOLD: null }, { key: alice });
    assert.deepEqual(await why(), [true, 'changes other files too']);
  });

  for (const message of ['Vouch for it\n\nVouch: yes\n', 'go\n\nvouch : no\n---\nand more\n'])
    it(`does not count if its message has a line Vouch: ${JSON.stringify(message)}`, async () => {
      await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
      await world.commit(message, { HOLD: null }, { key: alice });
      assert.deepEqual(await why(), [true, 'is a vouch']);
    });

  it('does not count as a merge, though an allowed signer made it', async () => {
    await world.git('branch', 'side');
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.commit('other\n', { zipname: 'b.zip\n' }, { key: alice });
    await world.git('checkout', '-q', '-b', 'other', 'HEAD~1');
    await world.commit('more\n', { note: 'x' }, { key: alice });
    await world.git('merge', '-q', '--no-commit', 'main');
    await world.commit('go\n', { HOLD: null }, { key: alice });
    await world.git('branch', '-f', 'main');
    assert.deepEqual(await why(), [true, 'is a merge, and merges neither lift nor restore']);
  });

  it('lifts no HOLD that it does not descend from', async () => {
    await world.git('branch', 'side');
    await world.commit('stop\n', { HOLD: 'one' }, { key: alice });
    await world.git('checkout', '-q', 'side');
    await world.commit('stop\n', { HOLD: 'two' }, { key: alice });
    await world.commit('go\n', { HOLD: null }, { key: alice });
    await world.git('merge', '-q', '-s', 'ours', '-m', 'both', 'main');
    await world.git('branch', '-f', 'main');
    assert.deepEqual((await state()).reason, 'one');
  });

  it('counts after one that did not, once the file was added again', async () => {
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.commit('go\n', { HOLD: null });
    await world.commit('back\n', { HOLD: 'to lift it' });
    await world.commit('go\n', { HOLD: null }, { key: alice });
    assert.equal((await state()).held, false);
  });
});

describe('a merge', () => {
  /** A HOLD that was lifted on main, and the work of another builder whose clone only has the HOLD. */
  async function lifted(): Promise<void> {
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.git('branch', 'theirs');
    await world.commit('go\n', { HOLD: null }, { key: alice });
    await world.git('checkout', '-q', 'theirs');
    await world.commit('2\n', { zipname: 'b.zip\n' }, { key: mallory });
  }

  it('by an ordinary git pull does not bring a HOLD back', async () => {
    await lifted();
    await world.git('merge', '-q', '-m', 'pull', 'main');
    await world.git('branch', '-f', 'main');
    assert.deepEqual((({ held, ignored }) => [held, ignored])(await state()), [false, []]);
  });

  it('that keeps the tree with the HOLD does not bring it back', async () => {
    await lifted();
    await world.git('merge', '-q', '-s', 'ours', '-m', 'mine', 'main');
    await world.git('branch', '-f', 'main');
    assert.equal((await state()).held, false);
  });

  it('by an ordinary git pull does not lift a HOLD', async () => {
    await world.git('branch', 'theirs');
    await world.commit('stop\n', { HOLD: 'stay' }, { key: alice });
    await world.git('checkout', '-q', 'theirs');
    await world.commit('2\n', { zipname: 'b.zip\n' }, { key: alice });
    await world.git('merge', '-q', '-m', 'pull', 'main');
    await world.git('branch', '-f', 'main');
    assert.equal((await state()).held, true);
  });

  it('with a HOLD that no side had stops signing', async () => {
    await world.git('branch', 'theirs');
    await world.commit('1\n', { note: 'x' });
    await world.git('checkout', '-q', 'theirs');
    await world.commit('2\n', { zipname: 'b.zip\n' });
    await world.git('merge', '-q', '--no-commit', 'main');
    await world.commit('stop\n', { HOLD: 'in a hurry' });
    await world.git('branch', '-f', 'main');
    assert.equal((await state()).reason, 'in a hurry');
  });
});
