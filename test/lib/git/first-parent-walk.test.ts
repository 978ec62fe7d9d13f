import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ControlRepository } from '../../../src/protocol/control/repository.ts';
import { TestControl } from '../../protocol/control/repositories.ts';

const HOLD = 'HOLD';

/** Short ways are walked in this process, long ones by git: both must give the same result. */
describe('a walk through history', () => {
  let world: TestControl;
  let repository: ControlRepository;
  /** Oldest first. */
  const commits: string[] = [];
  /** Pairs of commits at all distances; few, since each starts git processes. */
  const pairs = (nth: number): [string, string][] =>
    commits.flatMap((a, i) =>
      commits.flatMap((b, j): [string, string][] => ((i + 2 * j) % nth === 0 ? [[a, b]] : [])),
    );
  const lines = async (...args: string[]): Promise<string[]> =>
    (await world.git('rev-list', '--topo-order', ...args)).split('\n').filter((line) => line !== '');
  const commit = async (files: Record<string, string | null>): Promise<void> => {
    const env = { GIT_COMMITTER_DATE: `2026-01-01T00:${String(commits.length).padStart(2, '0')}:00Z` };
    commits.push(await world.commit(`${commits.length}\n`, files, { env }));
  };
  const merge = async (branch: string, strategy: string[]): Promise<void> => {
    await world.git(
      '-c',
      'user.name=M',
      '-c',
      'user.email=m@x',
      'merge',
      '-q',
      '--no-ff',
      ...strategy,
      branch,
    );
    commits.push(await world.git('rev-parse', 'HEAD'));
  };

  before(async () => {
    world = await TestControl.create();
    await commit({ zipname: 'a\n' });
    await commit({ zipname: 'b\n' });
    await world.git('branch', 'side');
    await commit({ [HOLD]: 'one' });
    await commit({ zipname: 'c\n' });
    await world.git('checkout', '-q', 'side');
    await commit({ other: 'x' });
    await commit({ [HOLD]: 'two' });
    await world.git('checkout', '-q', 'main');
    await merge('side', ['-s', 'ours', '-m', 'ours']);
    await commit({ zipname: 'd\n' });
    await commit({ [HOLD]: null });
    await world.git('branch', 'without');
    await commit({ [HOLD]: 'three' });
    await commit({ zipname: 'e\n' });
    await world.git('checkout', '-q', 'without');
    await commit({ other: 'y' });
    await merge('main', ['-s', 'ours', '-m', 'lets it vanish']);
    await commit({ zipname: 'f\n' });
    await commit({});
    await world.git('branch', '-f', 'main');
    await world.push('main');
    repository = await world.repository();
    await repository.fetch();
  });
  after(() => world.close());

  it('finds the same as git between any two commits', async () => {
    for (const [tip, base] of pairs(3)) {
      const [plain, first] = [
        await repository.commitsBetween(tip, [base]),
        await repository.firstParents(tip, [base]),
      ];
      assert.deepEqual(plain, await lines('--reverse', tip, `^${base}`));
      assert.deepEqual(
        first.map(({ id, parents }) => [id, ...parents].join(' ')),
        await lines('--first-parent', '--parents', tip, `^${base}`),
      );
      const before = (await lines(tip)).includes(base);
      assert.equal(await repository.isAncestor(base, tip), before);
    }
  });

  it('lists a whole first-parent history, oldest first', async () => {
    for (const tip of commits)
      assert.deepEqual(await repository.firstParentIds(tip), await lines('--first-parent', '--reverse', tip));
  });

  it('finds the commits that changed a path, whatever tips were requested before', async () => {
    for (const [first, tip] of pairs(3)) {
      await repository.commitsTouching(first, HOLD);
      assert.deepEqual(
        await repository.commitsTouching(tip, HOLD),
        await lines('--full-history', tip, '--', HOLD),
        `${first} then ${tip}`,
      );
    }
  });

  it('also if a part of the history is excluded', async () => {
    for (const [tip, base] of pairs(5))
      assert.deepEqual(
        await repository.commitsTouching(tip, HOLD, [base]),
        await lines('--full-history', tip, `^${base}`, '--', HOLD),
      );
  });
});
