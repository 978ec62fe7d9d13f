import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CommitRef } from '../../../src/lib/git/first-parent-walk.ts';
import { KnownLine } from '../../../src/lib/git/known-line.ts';

/** Commits with these ids, each the only parent of the next; the first follows `base`. */
const line = (base: string, ...ids: string[]): CommitRef[] =>
  ids.map((id, at) => ({ id, parents: [ids[at - 1] ?? base] }));

describe('a known stretch of history without merges', () => {
  it('says which of two of its commits is in the history of the other', () => {
    const known = new KnownLine();
    known.learn(line('a', 'b', 'c'));
    assert.deepEqual(
      [known.isAncestor('a', 'c'), known.isAncestor('c', 'a'), known.isAncestor('b', 'b')],
      [true, false, true],
    );
    assert.equal(known.isAncestor('x', 'c'), null);
    assert.equal(known.isAncestor('a', 'x'), null);
  });

  it('grows, also by commits of which it knows the first', () => {
    const known = new KnownLine();
    known.learn(line('a', 'b', 'c'));
    known.learn(line('a', 'b', 'c', 'd'));
    known.learn(line('b', 'c', 'd'));
    known.learn(line('d', 'e'));
    assert.deepEqual([known.isAncestor('a', 'e'), known.isAncestor('e', 'b')], [true, false]);
  });

  it('forgets a stretch that another one does not continue, such as the other side of a fork', () => {
    const known = new KnownLine();
    known.learn(line('a', 'b', 'c'));
    known.learn(line('b', 'x', 'y'));
    assert.equal(known.isAncestor('c', 'y'), null);
    assert.deepEqual([known.isAncestor('b', 'y'), known.isAncestor('y', 'b')], [true, false]);
  });

  it('learns nothing from merges, roots and commits in no order', () => {
    for (const commits of [
      [{ id: 'b', parents: ['a', 'x'] }],
      [{ id: 'a', parents: [] }],
      [...line('a', 'b'), ...line('x', 'y')],
      [],
    ]) {
      const known = new KnownLine();
      known.learn(commits);
      assert.equal(known.isAncestor('a', 'b'), null);
    }
  });
});
