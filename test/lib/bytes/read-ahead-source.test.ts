import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import {
  atRanges,
  forward,
  ReadAheadSource,
  type WindowPolicy,
} from '../../../src/lib/bytes/read-ahead-source.ts';

const MIB = 2 ** 20;
const content = randomBytes(3 * MIB);

/** A source that reads ahead, and the reads that reach the source behind it. */
function reading(policy: WindowPolicy): { source: ReadAheadSource; reads: number[][]; failNext: () => void } {
  const bytes = new BufferSource(content, 'content');
  const reads: number[][] = [];
  let failing = false;
  const read = async (offset: number, length: number): Promise<Buffer> => {
    reads.push([offset, offset + length]);
    if (failing) {
      failing = false;
      throw new Error('lost');
    }
    return bytes.read(offset, length);
  };
  const source = new ReadAheadSource({ size: bytes.size, name: bytes.name, read }, policy);
  return { source, reads, failNext: () => void (failing = true) };
}

const check = async (source: ReadAheadSource, start: number, end: number): Promise<void> =>
  assert.ok(
    (await source.read(start, end - start)).equals(content.subarray(start, end)),
    `${start} to ${end}`,
  );

describe('ReadAheadSource', () => {
  it('reads forward 1 MiB at a time, and larger reads by themselves', async () => {
    const { source, reads } = reading(forward(content.length));
    for (let at = 10; at < MIB - 1000; at += 1000) await check(source, at, at + 1000);
    await check(source, MIB, 2 * MIB);
    await check(source, content.length - 5, content.length);
    assert.deepEqual(reads, [
      [10, 10 + MIB],
      [MIB, 2 * MIB],
      [content.length - 5, content.length],
    ]);
  });

  it('reads known ranges in windows of up to 256 KiB, two of them ahead, and each once', async () => {
    const ranges = Array.from({ length: 60 }, (_, at) => ({ start: at * 30_000, end: at * 30_000 + 100 }));
    const { source, reads } = reading(atRanges(ranges.toReversed()));
    await check(source, 0, 100);
    assert.equal(reads.length, 3);
    for (const { start, end } of ranges) await check(source, start + 2, end);
    assert.equal(reads.length, 7);
    assert.ok(reads.every(([start = 0, end = 0]) => end - start <= 256 * 1024));
    await check(source, 200, 300);
    assert.deepEqual(reads.at(-1), [200, 300]);
  });

  it('tries again after a failed read', async () => {
    const { source, failNext } = reading(forward(content.length));
    failNext();
    await assert.rejects(source.read(0, 10), /lost/);
    await check(source, 0, 10);
  });
});
