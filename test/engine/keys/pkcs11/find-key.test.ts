import { before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { certificatesFor, fits } from '../../../../src/engine/keys/pkcs11/find-key.ts';
import type { TokenKey } from '../../../../src/engine/keys/pkcs11/module-calls.ts';
import type { ModuleProcess } from '../../../../src/engine/keys/pkcs11/module-process.ts';
import { Certificate } from '../../../../src/lib/x509/certificate.ts';
import { createTestCertificate, type TestIdentity } from '../../../../src/sandbox/certificates.ts';

const key = (known: Partial<TokenKey>): TokenKey => ({
  handle: Buffer.alloc(8),
  label: 'codesign',
  id: Buffer.from([1]),
  type: 0,
  signs: true,
  alwaysAuthenticate: false,
  modulus: undefined,
  ecParams: undefined,
  ecPoint: undefined,
  ...known,
});

/** A certificate for a key of an algorithm that does not exist. */
function unknownAlgorithm({ certificate }: TestIdentity): Certificate {
  const der = Buffer.from(certificate.raw);
  const rsaEncryption = Buffer.from('06092a864886f70d010101', 'hex');
  der[der.indexOf(rsaEncryption) + rsaEncryption.length - 1] = 0x63;
  return Certificate.parse(der, 'certificate');
}

let issuer: TestIdentity;
before(async () => {
  issuer = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
});

const issued = async (publicKey: KeyObject): Promise<TestIdentity> =>
  createTestCertificate({ commonName: 'Another', purpose: 'code-signing', issuer, key: publicKey });

describe('certificates of other kinds of keys on a token', () => {
  const others: Record<string, () => { readonly publicKey: KeyObject }> = {
    'EC on brainpoolP256r1': () => generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }),
    'RSASSA-PSS': () => generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
    DSA: () => generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 }),
    Ed25519: () => generateKeyPairSync('ed25519'),
  };
  const known = [key({ modulus: Buffer.alloc(256, 1) }), key({ type: 3, ecPoint: Buffer.alloc(65, 4) })];

  for (const [name, make] of Object.entries(others))
    it(`${name}: do not fit`, async () => {
      const { certificate } = await issued(make().publicKey);
      assert.deepEqual(
        known.map((each) => fits(certificate, each)),
        [false, false],
      );
    });

  it('an algorithm that is unknown: do not fit, and are not asked for proof', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const certificate = unknownAlgorithm(await issued(rsa.publicKey));
    assert.deepEqual(
      known.map((each) => fits(certificate, each)),
      [false, false],
    );
    const listed = [{ label: '', id: Buffer.alloc(0), der: certificate.raw }];
    const process = { call: () => Promise.resolve(listed) } as unknown as ModuleProcess;
    const signer = { digests: undefined, sign: () => Promise.resolve(Buffer.alloc(256)) };
    await assert.rejects(certificatesFor(process, key({}), undefined, signer), {
      code: 'token-certificate-missing',
    });
  });
});
