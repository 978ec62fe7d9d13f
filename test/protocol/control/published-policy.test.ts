import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { policyBytes, isPolicyCommit, readPolicy } from '../../../src/protocol/control/published-policy.ts';
import { appendPolicy, openReceipts } from '../../../src/protocol/control/write-receipt.ts';
import { receiptsSince } from '../../../src/protocol/control/receipt-history.ts';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { policyOf } from './sample-policy.ts';
import { git, out, TestControl, type TestKey } from './repositories.ts';

describe('the policy that a signer publishes on the receipt branch', () => {
  let world: TestControl;
  let repository: ControlRepository;
  let key: TestKey;
  const identity = { name: 'Signer', email: '' };
  before(async () => {
    world = await TestControl.create();
    repository = await world.repository();
    key = await world.key('signer');
  });
  after(() => world.close());

  it('is in the first commit, which is no policy commit', async () => {
    const { id } = await openReceipts(
      repository,
      { signer: key.signer, identity, policy: policyOf({ vouches: 0 }) },
      new Date(),
    );
    const commit = await repository.readCommit(id);
    assert.deepEqual(await readPolicy(repository, commit), policyOf({ vouches: 0 }));
    assert.equal(await isPolicyCommit(repository, commit), false);
  });

  it('is published again in a commit that answers no request', async () => {
    const parent = (await repository.fetch()).receipts ?? '';
    const writer = { signer: key.signer, identity, policy: policyOf({ vouches: 2 }) };
    const { result, id } = await appendPolicy(repository, writer, { parent, at: new Date() });
    assert.equal(result, 'pushed');
    const commit = await repository.readCommit(id);
    assert.equal(commit.message, 'policy of Signer changed\n');
    assert.equal(await isPolicyCommit(repository, commit), true);
    assert.deepEqual(await readPolicy(repository, commit), policyOf({ vouches: 2 }));
    assert.deepEqual(await receiptsSince(repository, id, parent), [{ id, request: null }]);
    await git(world.remote, ['fsck', '--strict']);
  });

  it('is not read from a commit with anything else in it, or with something that is no policy', async () => {
    const commitOf = async (files: Record<string, string>): Promise<string> => {
      await git(world.work, ['read-tree', '--empty']);
      for (const [name, text] of Object.entries(files)) {
        await world.write('blob', text);
        const blob = await out(world.work, 'hash-object', '-w', 'blob');
        await git(world.work, ['update-index', '--add', '--cacheinfo', `100644,${blob},${name}`]);
      }
      const tree = await out(world.work, 'write-tree');
      const made = await out(world.work, 'commit-tree', '-m', 'x', '-p', 'HEAD', tree);
      await git(world.work, ['push', '-q', '-f', 'origin', `${made}:refs/heads/main`]);
      await repository.fetch();
      return made;
    };
    await world.commit('1\n', { zipname: 'a.zip\n' });
    const policy = policyBytes(policyOf({ vouches: 1 })).toString();
    for (const files of [
      { 'policy.json': policy, 'receipt.json': '{}' },
      { 'policy.json': '{"version":2}' },
      { 'policy.json': 'not json' },
      { 'other.json': policy },
    ]) {
      const commit = await repository.readCommit(await commitOf(files));
      assert.equal(await isPolicyCommit(repository, commit), false, Object.keys(files).join());
    }
    const right = await repository.readCommit(await commitOf({ 'policy.json': policy }));
    assert.equal(await isPolicyCommit(repository, right), true);
  });
});
