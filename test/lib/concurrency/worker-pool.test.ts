import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { compileModule } from '../../../src/build/compile.ts';
import { WorkerPool, type WorkerPoolOptions } from '../../../src/lib/concurrency/worker-pool.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import type { TestJobs } from './test-worker.ts';

const CODE = 'test-code';

describe('a pool of threads', () => {
  let folder: string;
  const pools: WorkerPool<TestJobs>[] = [];
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-pool-'));
    await writeFile(join(folder, 'package.json'), '{ "type": "commonjs" }\n');
    await writeFile(join(folder, 'worker.js'), await compileModule('../test/lib/concurrency/test-worker.ts'));
  });
  after(async () => {
    await Promise.all(pools.map((pool) => pool.close()));
    await rm(folder, { recursive: true });
  });

  const pool = (options: WorkerPoolOptions): WorkerPool<TestJobs> => {
    const made = new WorkerPool<TestJobs>(pathToFileURL(join(folder, 'worker.js')), options);
    pools.push(made);
    return made;
  };

  it('does more jobs than there are threads, each with its own result', async () => {
    const two = pool({ threads: 2 });
    const numbers = Array.from({ length: 9 }, (_, n) => n);
    const results = await Promise.all(numbers.map((n) => two.run('double', n)));
    assert.deepEqual(
      results,
      numbers.map((n) => n * 2),
    );
  });

  it('starts no more threads than it may, and uses all of them', async () => {
    for (const jobsPerThread of [1, 2]) {
      const three = pool({ threads: 3, jobsPerThread });
      const ids = await Promise.all(Array.from({ length: 12 }, () => three.run('thread', 20)));
      assert.equal(new Set(ids).size, 3);
    }
  });

  it('passes data to the script, and transfers memory', async () => {
    const one = pool({ threads: 1, data: { limit: 3 } });
    assert.deepEqual(await one.run('data', undefined), { limit: 3 });
    assert.deepEqual(await one.run('bytes', 3), Uint8Array.of(7, 7, 7));
  });

  it('keeps kind, code, message, hint and the message of the cause of our own errors', async () => {
    const one = pool({ threads: 1 });
    await assert.rejects(one.run('refuse', undefined), (error: SignpipeError) => {
      assert.ok(error instanceof SignpipeError);
      const { kind, code, message, hint, cause } = error;
      assert.deepEqual(
        { kind, code, message, hint, cause: cause instanceof Error && cause.message },
        {
          kind: 'not-allowed',
          code: CODE,
          message: 'it is refused',
          hint: 'ask for something else',
          cause: 'the reason',
        },
      );
      return true;
    });
    assert.equal(await one.run('double', 4), 8);
  });

  it('keeps message and stack of other errors', async () => {
    await assert.rejects(pool({ threads: 1 }).run('fail', undefined), (error: Error) => {
      assert.ok(!(error instanceof SignpipeError));
      assert.equal(error.message, 'a bug');
      assert.match(error.stack ?? '', /RangeError: a bug\n.*worker\.js/);
      return true;
    });
  });

  it('loses only the job of a thread that ends, and starts another', async () => {
    const one = pool({ threads: 1 });
    const [ended, doubled] = await Promise.allSettled([one.run('exit', undefined), one.run('double', 21)]);
    assert.ok(ended.status === 'rejected');
    assert.match(String(ended.reason), /a thread ended before its work was done/);
    assert.deepEqual(doubled, { status: 'fulfilled', value: 42 });
  });
});
