/** Sources that consist of ranges of others. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { ConcatenatedSource } from '../../../src/lib/bytes/concatenated-source.ts';

it('a source may lie in more pieces than a call may have arguments', () => {
  const bytes = new BufferSource(Buffer.alloc(2), 'bytes');
  const pieces = Array.from({ length: 300_000 }, () => ({ source: bytes, start: 0, end: 1 }));
  const scattered = new ConcatenatedSource(pieces, 'scattered');
  const around = new ConcatenatedSource([{ source: scattered, start: 0, end: scattered.size }], 'around');
  assert.equal(around.extents(0, around.size)?.length, 300_000);
});
