import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { flattened } from '../../../src/lib/bytes/flatten-patched.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';

const all = (source: PatchedSource): Promise<Buffer> => source.read(0, source.size);

describe('a patched file that is patched again', () => {
  it('is described as a delta over the first file, with the same bytes', async () => {
    const first = new BufferSource(Buffer.from('0123456789'), 'a');
    const once = PatchedSource.of(first, [{ start: 0, end: 4 }, Buffer.from('AB'), { start: 6, end: 10 }]);
    const twice = PatchedSource.of(once, [
      { start: 1, end: 5 },
      Buffer.from('x'),
      { start: 5, end: 6 },
      Buffer.from('y'),
      { start: 8, end: 10 },
    ]);
    const flat = flattened(twice);
    assert.equal(flat.source, first);
    assert.equal((await all(twice)).toString(), '123AxBy89');
    assert.deepEqual(await all(flat), await all(twice));
    assert.deepEqual(flat.delta.spans, [
      { from: 'source', start: 1, end: 4 },
      { from: 'fresh', start: 0, end: 4 },
      { from: 'source', start: 8, end: 10 },
    ]);
  });

  it('stays as it is if it was patched only once', () => {
    const once = PatchedSource.of(new BufferSource(Buffer.from('01'), 'a'), [{ start: 0, end: 1 }]);
    assert.equal(flattened(once), once);
  });
});
