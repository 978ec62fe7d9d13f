import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { textChunks } from '../../../src/lib/bytes/text-chunks.ts';

const MOST = 64 * 1024;

describe('stretches of a long text', () => {
  it('are the whole text, none longer than it may be, and none short but the last', () => {
    const pieces = ['a', '', 'b'.repeat(MOST), 'c', 'd'.repeat(3 * MOST), 'e'];
    const found = [...textChunks(pieces)];
    assert.equal(found.join(''), pieces.join(''));
    assert.deepEqual(
      found.map(({ length }) => length),
      [MOST, MOST, MOST, MOST, 3],
    );
  });

  it('cut no character in two, wherever it stands', () => {
    for (const before of [MOST - 2, MOST - 1, MOST]) {
      const text = `${'x'.repeat(before)}${'🎉'.repeat(MOST)}`;
      const found = [...textChunks([text])];
      assert.equal(Buffer.concat(found.map((each) => Buffer.from(each))).toString(), text);
    }
  });

  it('are none of an empty text', () => assert.deepEqual([...textChunks(['', ''])], []));
});
