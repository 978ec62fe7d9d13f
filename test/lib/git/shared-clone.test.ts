import assert from 'node:assert/strict';
import { utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { withTempFolder } from '../../../src/lib/bytes/temp-folder.ts';
import { GitFailure } from '../../../src/lib/git/git.ts';
import { againAfterRefRace, ifAlone } from '../../../src/lib/git/shared-clone.ts';

const failure = (stderr: string): SignpipeError =>
  new SignpipeError('unavailable', 'git-unreachable', 'x', { cause: new GitFailure(1, '', stderr) });

describe('a clone that several processes use', () => {
  it('is fetched again if another process moved a branch of it, and not after other failures', async () => {
    const errors = [failure("error: cannot lock ref 'refs/remote/main': is at 1 but expected 2")];
    await againAfterRefRace(() => {
      const error = errors.pop();
      return error ? Promise.reject(error) : Promise.resolve();
    });
    const other = failure('fatal: Could not read from remote repository.');
    let times = 0;
    const fetch = (): Promise<never> => {
      times += 1;
      return Promise.reject(other);
    };
    await assert.rejects(againAfterRefRace(fetch), other);
    assert.equal(times, 1);
  });

  it('is repacked by one of them at a time; the lock of a process that ended long ago does not count', () =>
    withTempFolder(async (folder) => {
      const lock = join(folder, 'repack.lock');
      let times = 0;
      const work = (): Promise<void> => {
        times += 1;
        return ifAlone(lock, () => Promise.reject(new Error('two at once')));
      };
      await ifAlone(lock, work);
      assert.equal(times, 1);
      await writeFile(lock, '');
      await ifAlone(lock, work);
      assert.equal(times, 1);
      const old = Date.now() / 1000 - 7200;
      await utimes(lock, old, old);
      await ifAlone(lock, work);
      assert.equal(times, 2);
    }));
});
