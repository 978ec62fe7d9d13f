import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DeltaBuilder,
  placeSpans,
  unchangedRange,
  type Delta,
  type DeltaSpan,
} from '../../../src/lib/bytes/delta.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';

const source = new BufferSource(Buffer.from('0123456789'), 'old');
const fresh = new BufferSource(Buffer.from('abcdef'), 'new');
const from = (which: DeltaSpan['from'], start: number, end: number): DeltaSpan => ({
  from: which,
  start,
  end,
});
const DELTA: Delta = {
  size: 12,
  spans: [from('source', 2, 4), from('fresh', 0, 4), from('source', 0, 4), from('fresh', 4, 6)],
};

describe('a delta', () => {
  it('is read in the order of its spans, at whatever place a read begins and ends', async () => {
    const result = '23abcd0123ef';
    const made = new PatchedSource(source, DELTA, fresh);
    assert.equal(made.size, result.length);
    for (let start = 0; start <= result.length; start += 1)
      for (let end = start; end <= result.length; end += 1)
        assert.equal((await made.read(start, end - start)).toString(), result.slice(start, end));
    await assert.rejects(made.read(5, result.length), RangeError);
    await assert.rejects(made.read(-1, 2), RangeError);
  });

  it('is built from ranges and new bytes, without empty spans, neighbours joined', () => {
    const builder = new DeltaBuilder();
    builder.copy({ start: 2, end: 3 });
    builder.copy({ start: 3, end: 4 });
    builder.insert(1);
    builder.insert(3);
    builder.copy({ start: 5, end: 5 });
    builder.insert(0);
    builder.copy({ start: 0, end: 4 });
    builder.insert(2);
    assert.deepEqual(builder.delta, DELTA);
  });

  it('knows the longest range that stays where it was', () => {
    const spans = [from('source', 0, 2), from('fresh', 0, 2), from('source', 4, 7), from('source', 0, 7)];
    assert.deepEqual(unchangedRange({ size: 14, spans }), { start: 4, end: 7 });
    assert.deepEqual(unchangedRange(DELTA), { start: 0, end: 0 });
  });

  it('gives each span its offset in the new file', () => {
    const placed = placeSpans(DELTA, { source: 10, fresh: 6 });
    assert.deepEqual(
      placed.map(({ at }) => at),
      [0, 2, 6, 10],
    );
  });

  const unsound: readonly [string, Delta][] = [
    ['reaches beyond the old file', { size: 3, spans: [from('source', 8, 11)] }],
    ['reaches beyond the new bytes', { size: 7, spans: [from('fresh', 0, 7)] }],
    ['has an empty span', { size: 6, spans: [from('source', 3, 3), from('fresh', 0, 6)] }],
    ['has a span that runs backwards', { size: 6, spans: [from('source', 3, 2), from('fresh', 0, 6)] }],
    ['has a negative offset', { size: 7, spans: [from('source', -1, 0), from('fresh', 0, 6)] }],
    ['has a fraction', { size: 7, spans: [from('source', 0, 1.5), from('fresh', 0, 6)] }],
    ['skips new bytes', { size: 5, spans: [from('fresh', 1, 6)] }],
    ['leaves new bytes over', { size: 5, spans: [from('fresh', 0, 5)] }],
    ['uses new bytes twice', { size: 12, spans: [from('fresh', 0, 6), from('fresh', 0, 6)] }],
    ['is of another size than its spans', { size: 13, spans: DELTA.spans }],
  ];
  for (const [what, delta] of unsound)
    it(`assembly-unsound: ${what}`, () => {
      assert.throws(() => placeSpans(delta, { source: 10, fresh: 6 }), { code: 'assembly-unsound' });
    });
});
