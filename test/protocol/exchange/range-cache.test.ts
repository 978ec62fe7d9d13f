import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { RangeCache, indexOfRangeBeyond } from '../../../src/protocol/exchange/range-cache.ts';
import { temporaryFolder } from '../../lib/zip/zips.ts';

const MIB = 2 ** 20;
const folder = await temporaryFolder();

describe('runs that are held', () => {
  const path = join(folder, 'held');
  const held = new RangeCache(path);
  const content = randomBytes(90 * MIB);
  /** A gap of 5 bytes after the first 1000, and more than memory takes in all. */
  const pieces = [
    [0, 1000],
    [1005, 30 * MIB],
    [30 * MIB, 63 * MIB],
    [63 * MIB, 66 * MIB],
    [66 * MIB, 66 * MIB + 10],
    [70 * MIB, 90 * MIB],
  ] as const;

  it('stay in memory as far as that goes, and no file is made before', async () => {
    for (const [start, end] of pieces.slice(0, 3)) await held.append(start, content.subarray(start, end));
    assert.equal(existsSync(path), false);
    for (const [start, end] of pieces.slice(3)) await held.append(start, content.subarray(start, end));
    assert.equal(existsSync(path), true);
    assert.equal(held.end, 90 * MIB);
    assert.equal(
      held.size,
      pieces.reduce((sum, [start, end]) => sum + end - start, 0),
    );
  });

  for (const [start, end] of [
    [0, 1000],
    [0, 0],
    [1000, 1000],
    [1005, 1006],
    [30 * MIB - 1, 30 * MIB + 1],
    [29 * MIB, 66 * MIB + 10],
    [66 * MIB - 1, 66 * MIB + 10],
    [70 * MIB, 90 * MIB],
    [90 * MIB - 1, 90 * MIB],
  ] as const)
    it(`give bytes ${start} to ${end}, wherever they lie`, async () => {
      const read = await held.read(start, end - start);
      assert.equal(read?.equals(content.subarray(start, end)), start === end ? read?.length === 0 : true);
    });

  for (const [start, end] of [
    [999, 1001],
    [1000, 1006],
    [1002, 1003],
    [66 * MIB + 9, 66 * MIB + 11],
    [90 * MIB - 1, 90 * MIB + 1],
  ] as const)
    it(`are not all there from ${start} to ${end}`, async () => {
      assert.equal(await held.read(start, end - start), null);
    });

  it('are found by halving', () => {
    const runs = pieces.map(([start, end]) => ({ start, end }));
    for (let offset = 0; offset < 91 * MIB; offset += 333_333) {
      const slow = runs.findIndex(({ end }) => end > offset);
      assert.equal(indexOfRangeBeyond(runs, offset), slow === -1 ? runs.length : slow);
    }
    assert.equal(indexOfRangeBeyond([], 5), 0);
  });

  it('share the memory that there is', async () => {
    const room = { left: 1500 };
    const [one, other] = ['one', 'other'].map((name) => new RangeCache(join(folder, name), room));
    assert.ok(one && other);
    await one.append(0, content.subarray(0, 1000));
    await other.append(0, content.subarray(0, 1000));
    assert.deepEqual([existsSync(join(folder, 'one')), existsSync(join(folder, 'other'))], [false, true]);
    assert.ok((await other.read(0, 1000))?.equals(content.subarray(0, 1000)));
    await Promise.all([one.close(), other.close()]);
  });

  it('leave no file behind', async () => {
    await held.close();
    assert.deepEqual(await readdir(folder), []);
  });
});
