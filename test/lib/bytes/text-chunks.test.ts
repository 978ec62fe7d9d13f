import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { textChunks } from '../../../src/lib/bytes/text-chunks.ts';

const MOST = 64 * 1024;

describe('chunks of a long text', () => {
  it('are the whole text; none is too long, and only the last may be short', () => {
    const pieces = ['a', '', 'b'.repeat(MOST), 'c', 'd'.repeat(3 * MOST), 'e'];
    const chunks = [...textChunks(pieces)];
    assert.equal(chunks.join(''), pieces.join(''));
    assert.deepEqual(
      chunks.map(({ length }) => length),
      [MOST, MOST, MOST, MOST, 3],
    );
  });

  it('never cut a character', () => {
    for (const before of [MOST - 2, MOST - 1, MOST]) {
      const text = `${'x'.repeat(before)}${'🎉'.repeat(MOST)}`;
      const chunks = [...textChunks([text])];
      assert.equal(Buffer.concat(chunks.map((each) => Buffer.from(each))).toString(), text);
    }
  });

  it('are absent for an empty text', () => assert.deepEqual([...textChunks(['', ''])], []));
});
