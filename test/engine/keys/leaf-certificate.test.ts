import { before, describe, it } from 'node:test';
import assert from 'node:assert/strict';
import { leafOf } from '../../../src/engine/keys/leaf-certificate.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { createTestCertificate, type TestIdentity } from '../../../src/sandbox/certificates.ts';
import { refuses } from './refusal.ts';

const EKU = [OID.codeSigning];

let root: TestIdentity;
let otherRoot: TestIdentity;
/** One authority with certificates of both roots, and one that issued nothing here. */
let authority: TestIdentity;
let crossSigned: TestIdentity;
let unrelated: TestIdentity;
let leaf: TestIdentity;

before(async () => {
  root = await createTestCertificate({ commonName: 'Root', purpose: 'authority' });
  otherRoot = await createTestCertificate({ commonName: 'Other root', purpose: 'authority' });
  const middle = { commonName: 'Issuing', purpose: 'authority', extendedKeyUsage: EKU } as const;
  authority = await createTestCertificate({ ...middle, issuer: root });
  crossSigned = await createTestCertificate({ ...middle, issuer: otherRoot, key: authority.key });
  unrelated = await createTestCertificate({ ...middle, commonName: 'Unrelated', issuer: root });
  leaf = await createTestCertificate({
    commonName: 'Us',
    purpose: 'code-signing',
    key: 'p256',
    issuer: authority,
  });
});

const of = (...identities: readonly TestIdentity[]): string =>
  leafOf(
    identities.map(({ certificate }) => certificate),
    'chain.pem',
  ).sha256;

const issued = (options: { readonly notAfter?: Date; readonly key?: TestIdentity['key'] } = {}) =>
  createTestCertificate({
    commonName: 'Us',
    purpose: 'code-signing',
    key: leaf.key,
    issuer: authority,
    ...options,
  });

describe('the certificate of the signing key is', () => {
  it('the one of a chain that was cross-signed', () =>
    assert.equal(of(otherRoot, crossSigned, authority, leaf, root), leaf.certificate.sha256));

  it('the one that the file has twice', () =>
    assert.equal(of(leaf, authority, leaf), leaf.certificate.sha256));

  it('the one beside an authority for code signing that issued nothing here', () =>
    assert.equal(of(unrelated, leaf, authority), leaf.certificate.sha256));

  it('the one that expires last, of those that were issued for one key', async () => {
    const renewed = await issued({ notAfter: new Date(Date.now() + 700 * 86_400_000) });
    assert.equal(of(leaf, renewed, authority), renewed.certificate.sha256);
    assert.equal(of(renewed, leaf, authority), renewed.certificate.sha256);
  });

  it('an authority if there is nothing else, as openssl req -x509 makes certificates', () =>
    assert.equal(of(unrelated), unrelated.certificate.sha256));

  it('key-certificate-unclear: of two keys', async () => {
    const other = await createTestCertificate({ commonName: 'Us', purpose: 'code-signing', key: 'p256' });
    await refuses('key-certificate-unclear', () => of(leaf, other));
    await refuses('key-certificate-unclear', () => of(root));
  });
});
