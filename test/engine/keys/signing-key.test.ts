import { before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { verify } from 'node:crypto';
import { requireUsable } from '../../../src/engine/keys/signing-key.ts';
import {
  createTestCertificate,
  generateTestKey,
  testSigningKey,
  type KeyKind,
  type TestCertificateOptions,
  type TestIdentity,
} from '../../../src/sandbox/certificates.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { refuses } from './refusal.ts';

const DAY = 86_400_000;
const daysAhead = (days: number): Date => new Date(Date.now() + days * DAY);

let root: TestIdentity;
before(async () => {
  root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
});

const made = async (options: Partial<TestCertificateOptions>) =>
  testSigningKey(
    await createTestCertificate({
      commonName: 'Publisher',
      purpose: 'code-signing',
      issuer: root,
      key: 'p256',
      ...options,
    }),
  );

describe('a signing key', () => {
  const kinds: [KeyKind, 'rsa' | 'ecdsa'][] = [
    ['rsa2048', 'rsa'],
    ['p256', 'ecdsa'],
    ['p384', 'ecdsa'],
    ['p521', 'ecdsa'],
  ];
  for (const [kind, algorithm] of kinds)
    it(`signs with ${kind} and every digest`, async () => {
      const key = await made({ key: kind });
      assert.equal(key.algorithm, algorithm);
      const [leaf] = key.certificates;
      assert.ok(leaf);
      for (const hash of ['sha256', 'sha384', 'sha512'] as const) {
        const data = Buffer.from(hash);
        const { value } = await key.sign(hash, data);
        assert.ok(verify(hash, data, leaf.publicKey, value));
      }
    });

  it('keeps a self-signed certificate, which is its own root', async () => {
    const key = await made({ issuer: undefined });
    assert.equal(key.certificates.length, 1);
  });

  it('accepts two authorities that certify each other', async () => {
    const [a, b] = [await generateTestKey('p256'), await generateTestKey('p256')];
    const common = { purpose: 'authority' } as const;
    const first = await createTestCertificate({ ...common, commonName: 'A', key: a });
    const second = await createTestCertificate({ ...common, commonName: 'B', key: b, issuer: first });
    const crossed = await createTestCertificate({ ...common, commonName: 'A', key: a, issuer: second });
    const leaf = await createTestCertificate({
      commonName: 'Publisher',
      purpose: 'code-signing',
      key: 'p256',
      issuer: crossed,
    });
    const key = testSigningKey({
      ...leaf,
      chain: [...leaf.chain, second, crossed].map((each) =>
        'certificate' in each ? each.certificate : each,
      ),
    });
    assert.deepEqual(
      key.certificates.map((each) => each.commonName),
      ['Publisher', 'A', 'B'],
    );
  });
});

describe('requireUsable', () => {
  it('accepts a code-signing certificate', async () => requireUsable(await made({}), new Date()));

  it('certificate-expired', async () => {
    const key = await made({ notBefore: daysAhead(-30), notAfter: daysAhead(-1) });
    await refuses('certificate-expired', () => requireUsable(key, new Date()));
    requireUsable(key, daysAhead(-2));
  });

  it('does not judge the validity of a certificate that a service replaces every few days, only its purpose', async () => {
    const times = { notBefore: daysAhead(-4), notAfter: daysAhead(-1) };
    requireUsable(Object.assign(await made(times), { shortLived: true }), new Date());
    const wrong = await made({ ...times, extendedKeyUsage: [OID.timeStamping] });
    await refuses('certificate-not-for-code-signing', () =>
      requireUsable(Object.assign(wrong, { shortLived: true }), new Date()),
    );
  });

  it('certificate-not-yet-valid', async () => {
    const key = await made({ notBefore: daysAhead(1) });
    await refuses('certificate-not-yet-valid', () => requireUsable(key, new Date()));
  });

  it('certificate-not-for-code-signing: another purpose, no purpose, or no digital signatures', async () => {
    for (const extendedKeyUsage of [[OID.timeStamping], []]) {
      const key = await made({ extendedKeyUsage });
      await refuses('certificate-not-for-code-signing', () => requireUsable(key, new Date()));
    }
    const authority = await made({ purpose: 'authority', extendedKeyUsage: [OID.codeSigning] });
    await refuses('certificate-not-for-code-signing', () => requireUsable(authority, new Date()));
  });
});
