import { after, before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { OID } from '../../src/lib/asn1/oids.ts';
import {
  createTestCertificate,
  createTestPki,
  keyToPem,
  TEST_ORGANISATION,
  testSigningKey,
  toPem,
  type KeyKind,
  type TestIdentity,
} from '../../src/sandbox/certificates.ts';
import { toPfx } from '../../src/sandbox/pkcs12-writer.ts';
import { buildChain } from '../../src/lib/x509/chain.ts';
import { OpensslFolder } from '../engine/keys/openssl.ts';

let work: OpensslFolder;
before(async () => {
  work = await OpensslFolder.create();
});
after(() => work.remove());

/** Runs strict `openssl verify` with the intermediates of the identity's chain. */
async function verified(identity: TestIdentity, purpose: string): Promise<void> {
  await writeFile(work.path('root.pem'), toPem(identity.chain.slice(-1)));
  await writeFile(work.path('above.pem'), toPem(identity.chain));
  await writeFile(work.path('leaf.pem'), toPem(identity.chain.slice(0, 1)));
  const options = `-x509_strict -purpose ${purpose} -CAfile root.pem -untrusted above.pem`;
  assert.match(await work.openssl(`verify ${options} leaf.pem`), /leaf\.pem: OK/);
}

describe('createTestPki', () => {
  it('makes chains that openssl verify -x509_strict accepts', async () => {
    const pki = await createTestPki({ key: 'rsa2048', intermediate: true });
    await verified(pki.codeSigning, 'any');
    await verified(pki.timestamping, 'timestampsign');
    assert.equal(pki.codeSigning.chain.length, 3);
  });

  it('makes chains that buildChain accepts, also without an intermediate', async () => {
    const { root, intermediate, codeSigning, timestamping } = await createTestPki({ key: 'p384' });
    assert.equal(intermediate, null);
    const options = { intermediates: [], roots: [root.certificate], at: new Date() };
    assert.equal(buildChain(codeSigning.certificate, { ...options, usage: OID.codeSigning }).length, 2);
    assert.equal(buildChain(timestamping.certificate, { ...options, usage: OID.timeStamping }).length, 2);
  });
});

describe('a test certificate', () => {
  const kinds: KeyKind[] = ['rsa2048', 'p256', 'p384', 'p521'];
  for (const key of kinds)
    it(`is marked as one and well formed, self-signed with a ${key} key`, async () => {
      const made = await createTestCertificate({ commonName: 'Alone', purpose: 'code-signing', key });
      const { certificate } = made;
      assert.ok(certificate.isTest);
      assert.ok(certificate.extensions.has(OID.signpipeTest));
      assert.ok(certificate.subject.includes(TEST_ORGANISATION));
      assert.ok(certificate.isSelfIssued);
      assert.ok(!certificate.isCa);
      assert.deepEqual(certificate.extendedKeyUsage, [OID.codeSigning]);
      await writeFile(work.path('alone.pem'), toPem([certificate]));
      const shown = await work.openssl('x509 -noout -text -in alone.pem');
      assert.match(shown, /Key Usage: critical\s+Digital Signature\n/);
      assert.match(shown, /Extended Key Usage:\s+Code Signing\n/);
      assert.match(shown, /CA:FALSE/);
      await verified(made, 'any');
    });

  it('for timestamping has only that purpose, critical', async () => {
    const { certificate } = await createTestCertificate({ commonName: 'TSA', purpose: 'timestamping' });
    assert.deepEqual(certificate.extendedKeyUsage, [OID.timeStamping]);
    assert.equal(certificate.extensions.get(OID.extendedKeyUsage)?.critical, true);
  });

  it('has its own serial number and the requested dates', async () => {
    const notBefore = new Date('2001-02-03T04:05:06Z');
    const notAfter = new Date('2055-02-03T04:05:06Z');
    const options = {
      commonName: 'Dated',
      purpose: 'code-signing',
      key: 'p256',
      notBefore,
      notAfter,
    } as const;
    const [one, two] = [await createTestCertificate(options), await createTestCertificate(options)];
    assert.notEqual(one.certificate.serial, two.certificate.serial);
    assert.match(one.certificate.serial, /^[4-7][0-9a-f]{31}$/);
    assert.deepEqual([one.certificate.notBefore, one.certificate.notAfter], [notBefore, notAfter]);
  });

  it('becomes a signing key without its root', async () => {
    const { codeSigning } = await createTestPki({ key: 'p256', intermediate: true });
    assert.equal(testSigningKey(codeSigning).certificates.length, 2);
  });
});

describe('its files', () => {
  it('are a PFX that openssl opens, with a MAC over it, empty passphrase and other scripts too', async () => {
    const { codeSigning } = await createTestPki({ key: 'p256', intermediate: true });
    for (const passphrase of ['open sesame 4711', '', 'Schlüssel 鍵 🔑']) {
      await writeFile(work.path('made.pfx'), toPfx(codeSigning, passphrase, 'Made'));
      const shown = await work.openssl('pkcs12 -in made.pfx -info -nodes', '-passin', `pass:${passphrase}`);
      assert.match(shown, /MAC: sha256, Iteration 2048/);
      assert.match(shown, /PBES2, PBKDF2, AES-256-CBC/);
      assert.equal(shown.match(/BEGIN CERTIFICATE/g)?.length, 2);
      assert.ok(!shown.includes('CN = Test root\nissuer'), 'the root went along');
    }
  });

  it('are a key in PEM, encrypted if a passphrase is given', async () => {
    const { key } = await createTestCertificate({ commonName: 'x', purpose: 'code-signing', key: 'p256' });
    assert.ok(createPrivateKey(keyToPem(key)).equals(key));
    assert.ok(createPrivateKey({ key: keyToPem(key, 'sesame'), passphrase: 'sesame' }).equals(key));
    assert.throws(() => createPrivateKey({ key: keyToPem(key, 'sesame'), passphrase: 'other' }));
  });
});
