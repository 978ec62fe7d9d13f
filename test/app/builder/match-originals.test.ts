import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { matchOriginals } from '../../../src/app/builder/match-originals.ts';

const paired = (names: string[], originals: string[]): Record<string, string> =>
  Object.fromEntries(matchOriginals(names, originals));

describe('the original of a signed file', () => {
  it('is the only given file, whatever its name, if the request names one file', () =>
    assert.deepEqual(paired(['a.zip'], ['/build/unsigned.zip']), { 'a.zip': '/build/unsigned.zip' }));

  it('is the file with its name', () =>
    assert.deepEqual(paired(['a.zip', 'b.zip'], ['/x/b.zip', '/x/a.zip']), {
      'a.zip': '/x/a.zip',
      'b.zip': '/x/b.zip',
    }));

  it('is the file in its folder, if two have the same name', () =>
    assert.deepEqual(paired(['win/a.zip', 'mac/a.zip'], ['/x/mac/a.zip', '/x/win/a.zip']), {
      'win/a.zip': '/x/win/a.zip',
      'mac/a.zip': '/x/mac/a.zip',
    }));

  it('may be given twice', () =>
    assert.deepEqual(paired(['a.zip'], ['/x/a.zip', '/x/./a.zip']), { 'a.zip': '/x/a.zip' }));

  it('need not be given for every file', () =>
    assert.deepEqual(paired(['a.zip', 'b.zip'], ['/x/b.zip']), { 'b.zip': '/x/b.zip' }));

  it('original-ambiguous: two files could be it', () =>
    assert.throws(() => paired(['a.zip'], ['/x/a.zip', '/y/a.zip']), {
      kind: 'usage',
      code: 'original-ambiguous',
    }));

  it('original-unmatched: a given original that matches no file', () => {
    for (const names of [['a.zip', 'b.zip'], ['a.zip']])
      assert.throws(() => paired(names, ['/x/a.zip', '/x/c.zip']), {
        kind: 'usage',
        code: 'original-unmatched',
      });
  });
});
