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

describe('the range cache', () => {
  const content = randomBytes(90 * MIB);
  /** With a gap of 5 bytes after the first 1000, and more in all than is kept in memory. */
  const appended = [
    [0, 1000],
    [1005, 30 * MIB],
    [30 * MIB, 63 * MIB],
    [63 * MIB, 66 * MIB],
    [66 * MIB, 66 * MIB + 10],
    [70 * MIB, 90 * MIB],
  ] as const;
  const path = join(folder, 'cache');
  const ranges = [
    { start: 0, end: 1000 },
    { start: 1005, end: 66 * MIB + 10 },
    { start: 70 * MIB, end: 90 * MIB },
  ];
  const cache = new RangeCache(ranges, path);

  it('fills the memory before it creates a file', async () => {
    for (const [start, end] of appended.slice(0, 3)) await cache.append(start, content.subarray(start, end));
    assert.equal(existsSync(path), false);
    assert.deepEqual(cache.missing[0], { start: 63 * MIB, end: 66 * MIB + 10 });
    for (const [start, end] of appended.slice(3)) await cache.append(start, content.subarray(start, end));
    assert.equal(existsSync(path), true);
    assert.deepEqual(cache.missing, []);
    assert.equal(
      cache.size,
      appended.reduce((sum, [start, end]) => sum + end - start, 0),
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
    it(`returns bytes ${start} to ${end} from memory and file`, async () => {
      const read = await cache.read(start, end - start);
      assert.equal(read?.equals(content.subarray(start, end)), start === end ? read?.length === 0 : true);
    });

  for (const [start, end] of [
    [999, 1001],
    [1000, 1006],
    [1002, 1003],
    [66 * MIB + 9, 66 * MIB + 11],
    [90 * MIB - 1, 90 * MIB + 1],
  ] as const)
    it(`returns null for ${start} to ${end}, which the ranges do not cover`, async () => {
      assert.equal(await cache.read(start, end - start), null);
    });

  it('finds ranges by binary search', () => {
    for (let offset = 0; offset < 91 * MIB; offset += 333_333) {
      const slow = ranges.findIndex(({ end }) => end > offset);
      assert.equal(indexOfRangeBeyond(ranges, offset), slow === -1 ? ranges.length : slow);
    }
    assert.equal(indexOfRangeBeyond([], 5), 0);
  });

  it('shares a memory budget with other caches', async () => {
    const budget = { left: 1500 };
    const [one, other] = ['one', 'other'].map((name) => new RangeCache(ranges, join(folder, name), budget));
    assert.ok(one && other);
    await one.append(0, content.subarray(0, 1000));
    await other.append(0, content.subarray(0, 1000));
    assert.deepEqual([existsSync(join(folder, 'one')), existsSync(join(folder, 'other'))], [false, true]);
    assert.ok((await other.read(0, 1000))?.equals(content.subarray(0, 1000)));
    await Promise.all([one.close(), other.close()]);
  });

  it('lets reads wait for bytes, and fail if fetching fails', async () => {
    const waiting = new RangeCache(ranges, join(folder, 'waiting'));
    const [first, second] = [waiting.read(0, 1000), waiting.read(1005, 10)];
    await waiting.append(0, content.subarray(0, 1000));
    assert.ok((await first)?.equals(content.subarray(0, 1000)));
    waiting.fail(new Error('cut'));
    await assert.rejects(second, /cut/);
    await assert.rejects(waiting.readInto(Buffer.alloc(1), 1005), /cut/);
  });

  it('leaves no file behind', async () => {
    await cache.close();
    assert.deepEqual(await readdir(folder), []);
  });
});
