import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { generateKeyPair } from '../../../src/lib/ssh/generate-key.ts';

describe('a generated SSH key', () => {
  it('has all of its 32 bytes, even if the first is zero', () => {
    // The probability that one of them begins with zero is 1 - (255/256)^1500 = 0.997.
    for (let tries = 0; tries < 1500; tries += 1) {
      const { public: line } = generateKeyPair('test');
      assert.equal(Buffer.from(line.split(' ')[1] ?? '', 'base64').length, 51);
    }
  });
});
