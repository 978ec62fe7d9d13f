import assert from 'node:assert/strict';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { placeSpans, writeAssembly, type Assembly, type Span } from '../../src/io/assembly.ts';
import { BufferSource } from '../../src/io/source.ts';

const source = new BufferSource(Buffer.from('0123456789'), 'old');
const fresh = new BufferSource(Buffer.from('abcdef'), 'new');
const from = (which: Span['from'], start: number, end: number): Span => ({ from: which, start, end });
const ASSEMBLY: Assembly = {
  size: 12,
  spans: [from('source', 2, 4), from('fresh', 0, 4), from('source', 0, 4), from('fresh', 4, 6)],
};

describe('an assembly', () => {
  it('is written in the order of its spans', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'signpipe-assembly-'));
    await writeAssembly(ASSEMBLY, source, fresh, join(folder, 'out'));
    assert.equal(await readFile(join(folder, 'out'), 'utf8'), '23abcd0123ef');
    assert.deepEqual(await readdir(folder), ['out']);
    await rm(folder, { recursive: true });
  });

  it('knows where each span lands', () => {
    const placed = placeSpans(ASSEMBLY, { source: 10, fresh: 6 });
    assert.deepEqual(
      placed.map(({ at }) => at),
      [0, 2, 6, 10],
    );
  });

  const unsound: readonly [string, Assembly][] = [
    ['reaches beyond the old file', { size: 3, spans: [from('source', 8, 11)] }],
    ['reaches beyond the new bytes', { size: 7, spans: [from('fresh', 0, 7)] }],
    ['has an empty span', { size: 6, spans: [from('source', 3, 3), from('fresh', 0, 6)] }],
    ['has a span that runs backwards', { size: 6, spans: [from('source', 3, 2), from('fresh', 0, 6)] }],
    ['has a negative offset', { size: 7, spans: [from('source', -1, 0), from('fresh', 0, 6)] }],
    ['has a fraction', { size: 7, spans: [from('source', 0, 1.5), from('fresh', 0, 6)] }],
    ['skips new bytes', { size: 5, spans: [from('fresh', 1, 6)] }],
    ['leaves new bytes over', { size: 5, spans: [from('fresh', 0, 5)] }],
    ['uses new bytes twice', { size: 12, spans: [from('fresh', 0, 6), from('fresh', 0, 6)] }],
    ['is of another size than its spans', { size: 13, spans: ASSEMBLY.spans }],
  ];
  for (const [what, assembly] of unsound)
    it(`assembly-unsound: ${what}`, () => {
      assert.throws(() => placeSpans(assembly, { source: 10, fresh: 6 }), { code: 'assembly-unsound' });
    });
});
