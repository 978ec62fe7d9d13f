import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { certificateIdentity } from '../../../src/lib/x509/certificate-identity.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { Certificate, parsePemCertificates } from '../../../src/lib/x509/certificate.ts';

let folder = '';
const openssl = (...args: string[]): string =>
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
const made = (name: string, ...args: string[]): Certificate => {
  openssl(
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    `${name}.key`,
    '-out',
    `${name}.pem`,
    ...args,
  );
  const [certificate] = parsePemCertificates(readFileSync(join(folder, `${name}.pem`), 'utf8'), name);
  assert.ok(certificate);
  return certificate;
};
const field = (name: string, what: string): string =>
  openssl('x509', '-in', `${name}.pem`, '-noout', `-${what}`)
    .trim()
    .replace(/^[^=]*=\s*/, '');

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'signpipe-x509-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

describe('Certificate', () => {
  it('agrees with OpenSSL on names, serial, times and fingerprint', () => {
    const certificate = made(
      'a',
      '-subj',
      '/C=NL/O=Example, B.V./CN=Release Signing',
      '-utf8',
      '-days',
      '30',
      '-set_serial',
      '0x00f1e2d3c4',
    );
    assert.equal(certificate.subject, 'C=NL, O="Example, B.V.", CN=Release Signing');
    assert.equal(certificate.commonName, 'Release Signing');
    assert.equal(certificate.serial, field('a', 'serial').toLowerCase());
    assert.equal(certificate.notAfter.getTime(), Date.parse(field('a', 'enddate')));
    assert.equal(certificate.notBefore.getTime(), Date.parse(field('a', 'startdate')));
    const fingerprint = openssl('x509', '-in', 'a.pem', '-noout', '-fingerprint', '-sha256')
      .trim()
      .replace(/^.*=/, '');
    assert.equal(certificate.sha256, fingerprint.replaceAll(':', '').toLowerCase());
  });

  it('reads purposes, key usage, CA and path length', () => {
    const certificate = made(
      'b',
      ...['-subj', '/CN=CA', '-addext', 'basicConstraints=critical,CA:TRUE,pathlen:2'],
      ...[
        '-addext',
        'keyUsage=critical,keyCertSign,cRLSign',
        '-addext',
        'extendedKeyUsage=codeSigning,timeStamping',
      ],
    );
    assert.deepEqual([certificate.isCa, certificate.pathLength], [true, 2]);
    assert.deepEqual([...(certificate.keyUsage ?? [])], ['keyCertSign', 'cRLSign']);
    assert.deepEqual(certificate.extendedKeyUsage, [OID.codeSigning, OID.timeStamping]);
    assert.equal(certificate.extensions.get(OID.keyUsage)?.critical, true);
  });

  it('has an identity that survives renewal: the durable identity EKU, or else subject and issuer', () => {
    const marker = '1.3.6.1.4.1.311.97.1.0';
    const eku = '1.3.6.1.4.1.311.97.990309390.766961637.194916062.941502583';
    const usages = (...more: string[]): string[] => [
      '-addext',
      `extendedKeyUsage=${['codeSigning', marker, ...more].join(',')}`,
    ];
    assert.deepEqual(certificateIdentity(made('g', '-subj', '/CN=a', ...usages(eku))), { eku });
    assert.deepEqual(certificateIdentity(made('h', '-subj', '/CN=a', ...usages())), {
      subject: 'CN=a',
      issuer: 'CN=a',
    });
  });

  it('counts a self-signed leaf as a test certificate, but not a root', () => {
    assert.equal(
      made('c', '-subj', '/CN=self', '-addext', 'basicConstraints=critical,CA:FALSE').isTest,
      true,
    );
    assert.equal(made('d', '-subj', '/CN=root').isTest, false);
    assert.equal(made('e', '-subj', '/CN=marked', '-addext', `${OID.signpipeTest}=DER:0500`).isTest, true);
  });

  it('reads every root that this system trusts', () => {
    const pem = readFileSync('/etc/ssl/certs/ca-certificates.crt', 'utf8');
    const roots = parsePemCertificates(pem, 'system roots');
    assert.equal(roots.length, pem.split('-----BEGIN CERTIFICATE-----').length - 1);
    assert.ok(roots.every((root) => root.isCa && root.isSelfIssued));
  });

  it('certificate-malformed: cut short, or with bytes after its end', () => {
    const { raw } = made('f', '-subj', '/CN=x');
    for (const bytes of [raw.subarray(0, -1), Buffer.concat([raw, Buffer.alloc(1)]), Buffer.alloc(0)])
      assert.throws(
        () => Certificate.parse(bytes),
        (error) => error instanceof SignpipeError && error.code === 'certificate-malformed',
      );
  });

  it('certificate-none: a PEM file without one', () => {
    writeFileSync(join(folder, 'none'), 'nothing');
    assert.throws(
      () => parsePemCertificates('nothing', 'none'),
      (error) => error instanceof SignpipeError && error.code === 'certificate-none',
    );
  });
});
