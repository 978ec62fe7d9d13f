import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Origin } from '../../../src/protocol/control/commit-origin.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { git, out, TestControl } from './repositories.ts';

const OTHER = 'b'.repeat(40);

describe('a commit is ours', () => {
  let world: TestControl;
  let repository: ControlRepository;
  before(async () => {
    world = await TestControl.create();
    repository = await world.repository();
  });
  after(() => world.close());

  /** An empty commit with these parents, pushed as a branch of its own. */
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

  it('also if it branched off long before the head that was read last', async () => {
    const root = await commit();
    let tip = root;
    for (let i = 0; i < 5; i += 1) tip = await commit(tip);
    const origin = pinned([root]);
    await foreignAmong(origin, tip, null, []);
    const side = await commit(root);
    const strange = await commit(await commit());
    const merge = await commit(tip, side, strange);
    assert.deepEqual(await foreignAmong(origin, merge, tip, [side, strange, merge]), [false, true, false]);
    // A branch from an earlier foreign commit is foreign, also for a signer that starts again.
    const stranger = await commit(strange);
    const again = await commit(merge, stranger);
    assert.deepEqual(await foreignAmong(pinned([root]), again, merge, [stranger, again]), [true, false]);
  });

  it('if it descends from a root that was pinned later, once the earlier decisions are forgotten', async () => {
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
