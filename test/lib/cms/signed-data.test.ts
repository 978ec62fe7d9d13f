import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { octets } from '../../../src/lib/asn1/encode-der.ts';
import { parseDer } from '../../../src/lib/asn1/der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import {
  algorithm,
  baseAttributes,
  buildSignedData,
  buildSignerInfo,
  signedAttributesToSign,
  withUnsignedAttributes,
  attribute,
} from '../../../src/lib/cms/build-signed-data.ts';
import {
  claimedSigningTime,
  findSignerCertificate,
  isSorted,
  parseSignedData,
} from '../../../src/lib/cms/signed-data.ts';
import { verifySigner } from '../../../src/lib/cms/verify-signer.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { parsePemCertificates } from '../../../src/lib/x509/certificate.ts';

const CONTENT = Buffer.from('what is signed');
let folder = '';
const at = (name: string): string => join(folder, name);
const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
const code = (wanted: string) => (error: unknown) => error instanceof SignpipeError && error.code === wanted;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'signpipe-cms-'));
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-subj',
    '/O=Test, Inc./CN=CMS',
    '-keyout',
    'rsa.key',
    '-out',
    'rsa.pem',
  );
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-subj',
    '/CN=EC',
    '-keyout',
    'ec.key',
    '-out',
    'ec.pem',
  );
  writeFileSync(at('content'), CONTENT);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** SignedData as `openssl cms -sign` makes it. */
function signedByOpenssl(name: string, ...args: string[]): Buffer {
  openssl(
    'cms',
    '-sign',
    '-binary',
    '-nodetach',
    '-in',
    'content',
    '-signer',
    `${name}.pem`,
    '-inkey',
    `${name}.key`,
    '-outform',
    'DER',
    '-out',
    'made.p7',
    ...args,
  );
  return readFileSync(at('made.p7'));
}

function signedByUs(): Buffer {
  const [certificate] = parsePemCertificates(readFileSync(at('rsa.pem'), 'utf8'), 'rsa.pem');
  assert.ok(certificate);
  const attributes = baseAttributes(
    OID.data,
    createHash('sha256').update(CONTENT).digest(),
    new Date('2026-01-02T03:04:05Z'),
  );
  const signature = sign(
    'sha256',
    signedAttributesToSign(attributes),
    createPrivateKey(readFileSync(at('rsa.key'))),
  );
  const signer = buildSignerInfo({
    certificate,
    hash: 'sha256',
    signedAttributes: attributes,
    signatureAlgorithm: algorithm(OID.rsaEncryption),
    signature,
  });
  return buildSignedData({
    version: 1,
    hash: 'sha256',
    contentType: OID.data,
    content: octets(CONTENT),
    certificates: [certificate],
    signer,
  });
}

function verifyOnly(der: Buffer, content = CONTENT): void {
  const data = parseSignedData(der, 'p7');
  const [signer] = data.signers;
  assert.ok(signer);
  const certificate = findSignerCertificate(data, signer);
  assert.ok(certificate);
  verifySigner(signer, certificate, data.contentType, content, 'p7');
}

describe('SignedData made by OpenSSL', () => {
  for (const [key, hash] of [
    ['rsa', 'sha256'],
    ['rsa', 'sha512'],
    ['ec', 'sha384'],
  ] as const) {
    it(`verifies with ${key} and ${hash}`, () => {
      const der = signedByOpenssl(key, '-md', hash);
      const data = parseSignedData(der, 'p7');
      assert.equal(data.contentType, OID.data);
      assert.deepEqual(data.digestAlgorithms, [OID[hash]]);
      assert.ok(data.content && parseDer(data.content.raw, 'x').body.equals(CONTENT));
      verifyOnly(der);
    });
  }

  it('finds the certificate by subject key identifier', () => verifyOnly(signedByOpenssl('rsa', '-keyid')));

  it('verifies without signed attributes', () => verifyOnly(signedByOpenssl('rsa', '-noattr')));

  it('cms-message-digest: other content', () => {
    assert.throws(() => verifyOnly(signedByOpenssl('rsa'), Buffer.from('else')), code('cms-message-digest'));
  });

  it('cms-signature-wrong: other content without signed attributes', () => {
    assert.throws(
      () => verifyOnly(signedByOpenssl('rsa', '-noattr'), Buffer.from('else')),
      code('cms-signature-wrong'),
    );
  });

  it('cms-signature-wrong: a flipped bit in the signature', () => {
    const der = Buffer.from(signedByOpenssl('rsa'));
    const last = der.length - 1;
    der[last] = (der[last] ?? 0) ^ 1;
    assert.throws(() => verifyOnly(der), code('cms-signature-wrong'));
  });

  it('cms-not-signed-data: another content type', () => {
    openssl('cms', '-data_create', '-in', 'content', '-outform', 'DER', '-out', 'data.p7');
    assert.throws(() => parseSignedData(readFileSync(at('data.p7')), 'p7'), code('cms-not-signed-data'));
  });

  it('der-malformed: BER as a streaming signer writes it, and any truncation', () => {
    openssl(
      'cms',
      '-sign',
      '-binary',
      '-nodetach',
      '-stream',
      '-in',
      'content',
      '-signer',
      'rsa.pem',
      '-inkey',
      'rsa.key',
      '-outform',
      'DER',
      '-out',
      'ber.p7',
    );
    assert.throws(() => parseSignedData(readFileSync(at('ber.p7')), 'p7'), code('der-malformed'));
    const good = signedByOpenssl('rsa');
    for (let cut = 0; cut < good.length; cut += 97)
      assert.throws(
        () => parseSignedData(good.subarray(0, cut), 'p7'),
        (error) => error instanceof SignpipeError,
      );
  });
});

describe('SignedData made here, verified by OpenSSL', () => {
  it('verifies, certificates and attributes sorted', () => {
    const der = signedByUs();
    writeFileSync(at('ours.p7'), der);
    openssl(
      'cms',
      '-verify',
      '-binary',
      '-inform',
      'DER',
      '-in',
      'ours.p7',
      '-CAfile',
      'rsa.pem',
      '-purpose',
      'any',
      '-out',
      'out',
    );
    assert.deepEqual(readFileSync(at('out')), CONTENT);
    const [signer] = parseSignedData(der, 'p7').signers;
    assert.ok(signer && isSorted(signer.signedAttributes.map((each) => each.raw)));
    assert.deepEqual(claimedSigningTime(signer, 'p7'), new Date('2026-01-02T03:04:05Z'));
  });

  it('still verifies with an unsigned attribute added, and has the same bytes once it is removed', () => {
    const plain = signedByUs();
    const more = withUnsignedAttributes(plain, [attribute('1.2.3.4', octets(Buffer.from('token')))], 'p7');
    writeFileSync(at('more.p7'), more);
    openssl(
      'cms',
      '-verify',
      '-binary',
      '-inform',
      'DER',
      '-in',
      'more.p7',
      '-CAfile',
      'rsa.pem',
      '-purpose',
      'any',
      '-out',
      'out',
    );
    assert.equal(parseSignedData(more, 'p7').signers[0]?.unsignedAttributes[0]?.oid, '1.2.3.4');
    assert.deepEqual(withUnsignedAttributes(more, [], 'p7'), plain);
  });
});
