import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Origin } from '../../../src/protocol/control/commit-origin.ts';
import { rootsNamed } from '../../../src/lib/git/trailers.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { git, out, TestControl } from './repositories.ts';

const ID = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);

describe('the roots that a commit message names', () => {
  const MESSAGES: [name: string, message: string, roots: string[]][] = [
    ['a trailer', `Sign a.zip\n\nChannel: x\nControl: ${ID}\n`, [ID]],
    ['in any case', `Sign\n\nCONTROL : ${ID.toUpperCase()}\n`, [ID]],
    ['not among the trailers', `Sign\n\nControl: ${ID}\n\nthat was it\n`, [ID]],
    ['after a line that git takes for the end', `Sign\n\n---\nControl: ${ID}\n`, [ID]],
    ['with CR LF', `Sign\r\n\r\nControl: ${ID}\r\n`, [ID]],
    ['two of them', `Sign\n\nControl: ${ID}\nControl: ${OTHER}\n`, [ID, OTHER]],
    [
      'after blanks, a byte order mark or a no-break space',
      `Sign\n\n \uFEFFControl\u00A0:\u00A0${ID}\n`,
      [ID],
    ],
    ['after another line end', `Sign\n\nx\u2028Control: ${ID}\u0085Control: ${OTHER}\r`, [ID, OTHER]],
    ['folded', `Sign\n\nControl:\n ${ID}\n`, [ID]],
    ['followed by a remark', `Sign\n\nControl: ${ID} (nightly)\n`, [ID]],
    ['two on a line', `Sign\n\nControl: ${ID}, ${OTHER}\n`, [ID, OTHER]],
    ['abbreviated: a root that nobody pinned', `Sign\n\nControl: ${ID.slice(0, 12)}\n`, [ID.slice(0, 12)]],
    ['of a SHA-256 repository', `Sign\n\nControl: ${ID}${ID.slice(0, 24)}\n`, [`${ID}${ID.slice(0, 24)}`]],
    ['as a number in a sentence', 'control: 1234567 requests an hour\n', []],
    ['none', 'Sign a.zip\n', []],
    ['words that only look so', `Sign\n\nControl: flow graph\nAir-Control: ${ID}\nControl: g${ID}\n`, []],
    ['one digit too long: a root that nobody pinned', `Sign\n\nControl: ${ID}0\n`, [`${ID}0`]],
  ];
  for (const [name, message, roots] of MESSAGES) it(name, () => assert.deepEqual(rootsNamed(message), roots));
});

describe('a commit is ours', () => {
  let world: TestControl;
  let repository: ControlRepository;
  before(async () => {
    world = await TestControl.create();
    repository = await world.repository();
  });
  after(() => world.close());

  /** A commit of nothing with these parents, pushed as a branch of its own. */
  let counter = 0;
  async function commit(...parents: string[]): Promise<string> {
    const tree = await out(world.work, 'hash-object', '-t', 'tree', '-w', '/dev/null');
    const from = parents.flatMap((parent) => ['-p', parent]);
    const id = await out(world.work, 'commit-tree', tree, ...from, '-m', `${(counter += 1)}`);
    await git(world.work, ['push', '-qf', 'origin', `${id}:refs/heads/main`]);
    await repository.fetch();
    return id;
  }

  async function foreignAmong(
    origin: Origin,
    tip: string,
    after: string | null,
    ids: readonly string[],
  ): Promise<boolean[]> {
    await origin.learn(await repository.commitRefsBetween(tip, after === null ? [] : [after]), after);
    return ids.map((id) => origin.isForeign(id));
  }

  const pinned = (ids: string[], configured = false): Origin =>
    new Origin(repository, () => ({ ids, configured }));

  it('if it is a pinned root, or any parent is ours; a merge does not make the merged ours', async () => {
    const root = await commit();
    const next = await commit(root);
    const elsewhere = await commit();
    const theirs = await commit(elsewhere);
    const merge = await commit(theirs, next);
    const later = await commit(merge);
    const origin = pinned([root]);
    const ids = [root, next, elsewhere, theirs, merge, later];
    assert.deepEqual(await foreignAmong(origin, later, null, ids), [false, false, true, true, false, false]);
    const evenLater = await commit(later);
    assert.deepEqual(await foreignAmong(origin, evenLater, later, [evenLater]), [false]);
    assert.deepEqual(await foreignAmong(pinned([root]), evenLater, later, [evenLater]), [false]);
  });

  it('also if it branched off long before the head that was looked at last', async () => {
    const root = await commit();
    let tip = root;
    for (let i = 0; i < 5; i += 1) tip = await commit(tip);
    const origin = pinned([root]);
    await foreignAmong(origin, tip, null, []);
    const side = await commit(root);
    const strange = await commit(await commit());
    const merge = await commit(tip, side, strange);
    assert.deepEqual(await foreignAmong(origin, merge, tip, [side, strange, merge]), [false, true, false]);
    // What branches off from a foreign commit that came earlier is foreign, also for a signer that starts again.
    const stranger = await commit(strange);
    const again = await commit(merge, stranger);
    assert.deepEqual(await foreignAmong(pinned([root]), again, merge, [stranger, again]), [true, false]);
  });

  it('if it descends from a root that was pinned later, once the earlier verdicts are forgotten', async () => {
    const [root, other] = [await commit(), await commit()];
    const merge = await commit(root, other);
    const ids = [root];
    const origin = pinned(ids);
    assert.deepEqual(await foreignAmong(origin, merge, null, [other]), [true]);
    ids.push(other);
    origin.forget();
    const next = await commit(other);
    const again = await commit(merge, next);
    assert.deepEqual(await foreignAmong(origin, again, merge, [next]), [false]);
  });

  it('only by the configured roots if there are any, though the head was accepted', async () => {
    const root = await commit();
    const fork = await commit(root);
    const [ours, theirs] = [await commit(fork), await commit(root)];
    const origin = pinned([fork], true);
    const tip = await commit(ours, theirs);
    assert.deepEqual(await foreignAmong(origin, tip, root, [ours, theirs, tip]), [false, true, false]);
  });

  it('elsewhere if it names a pinned root, or names none and descends from one', async () => {
    const root = await commit();
    const next = await commit(root);
    const alone = await commit();
    const origin = pinned([root]);
    assert.deepEqual(
      await Promise.all([
        origin.isOurs(alone, [root]),
        origin.isOurs(next, []),
        origin.isOurs(alone, []),
        origin.isOurs(next, [OTHER]),
        origin.isOurs(next, [root, OTHER]),
      ]),
      [true, true, false, false, false],
    );
  });
});
