import assert from 'node:assert/strict';
import { generateKeyPairSync, sign, verify } from 'node:crypto';
import { describe, it } from 'node:test';
import { ecdsaRawToDer } from '../../../src/lib/asn1/ecdsa-signature.ts';

const data = Buffer.from('a program');

describe('an ECDSA signature in raw form', () => {
  for (const namedCurve of ['P-256', 'P-384', 'P-521'])
    it(`becomes DER that OpenSSL verifies: ${namedCurve}`, () => {
      const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve });
      // Many, since one in 256 begins with a zero octet, and one in two needs one in front.
      for (let round = 0; round < 100; round += 1) {
        const raw = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
        assert.ok(verify('sha256', data, publicKey, ecdsaRawToDer(raw, 'test')));
      }
    });

  it('has its integers in their shortest form', () => {
    const raw = Buffer.concat([Buffer.from('0001', 'hex'), Buffer.from('80ff', 'hex')]);
    assert.equal(ecdsaRawToDer(raw, 'test').toString('hex'), '300802010102030080ff');
  });

  for (const [why, length] of [
    ['of no bytes', 0],
    ['of an odd length', 63],
    ['longer than P-521 has', 134],
  ] as const)
    it(`ecdsa-signature-malformed: ${why}`, () => {
      assert.throws(() => ecdsaRawToDer(Buffer.alloc(length), 'test'), { code: 'ecdsa-signature-malformed' });
    });
});
