import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { describe, it } from 'node:test';
import { blake2b } from '../../src/lib/blake2b.ts';

/** Around the borders of blocks. */
const LENGTHS = [0, 1, 63, 64, 127, 128, 129, 255, 256, 257, 1000];
const dataOf = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 7) & 0xff));

describe('BLAKE2b', () => {
  it('has the digest of RFC 7693, appendix A', () => {
    assert.match(
      blake2b(Buffer.from('abc'), 64).toString('hex'),
      /^ba80a53f981c4d0d6a2797b69f12f6e9.*4009923$/,
    );
  });

  it('agrees with OpenSSL at its full length', () => {
    for (const length of LENGTHS) {
      const data = dataOf(length);
      assert.deepEqual(blake2b(data, 64), createHash('blake2b512').update(data).digest(), `${length} bytes`);
    }
  });

  it('agrees with Python at other lengths', () => {
    const script =
      'import hashlib, sys\nfor n in map(int, sys.argv[1:]): print(hashlib.blake2b(bytes((i*7)&255 for i in range(n)), digest_size=32).hexdigest())';
    const printed = execFileSync('python3', ['-c', script, ...LENGTHS.map(String)], { encoding: 'utf8' });
    assert.deepEqual(
      printed.trim().split('\n'),
      LENGTHS.map((length) => blake2b(dataOf(length), 32).toString('hex')),
    );
  });
});
