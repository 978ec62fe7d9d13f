import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { children, context, type Der } from '../../../src/lib/asn1/der.ts';
import type { VerifyReport } from '../../../src/engine/authenticode/report.ts';
import type { SignableFile } from '../../../src/engine/formats/signable-file.ts';
import { parseSignature } from '../../../src/engine/authenticode/signature.ts';
import { verifyProgram } from '../../../src/engine/artifact/verify-program.ts';
import { signedDataFields } from '../../../src/lib/cms/signed-data.ts';
import { withFile } from '../../../src/lib/bytes/byte-source.ts';
import { parsePemCertificates, type Certificate } from '../../../src/lib/x509/certificate.ts';
import { debianPackage } from '../../fixtures/debian.ts';
import { program, programs } from '../../fixtures/programs.ts';
import { openBytes, tool } from './tools.ts';
import { codes, verify } from './verify-maker.ts';

const all = await programs();
const signed = all.filter((each) => each.signed);

/** The output of osslsigncode for each signature in a file. */
async function ossl(path: string): Promise<{ digest: string; calculated: string; serial: string }[]> {
  const { text } = await tool('osslsigncode', 'verify', '-ignore-cdp', path);
  const parts = text.split(/^Signature Index: /m).slice(1);
  return parts.map((part) => ({
    digest: /Current message digest +: ([0-9A-F]+)/.exec(part)?.[1]?.toLowerCase() ?? '',
    calculated: /Calculated message digest +: ([0-9A-F]+)/.exec(part)?.[1]?.toLowerCase() ?? '',
    serial: /Serial ?: ([0-9A-F]+)/.exec(part)?.[1]?.toLowerCase() ?? '',
  }));
}

/** Two signatures side by side in one table, as UEFI accepts them. osslsigncode reads neither. */
const TWICE = 'shim-signed.efi';

const certificatesOf = ({ signatures: [signature] }: SignableFile): Der[] => {
  assert.ok(signature);
  const [token] = parseSignature(signature, 'it').timestamps;
  const { data } = signedDataFields(token ?? assert.fail(), 'it');
  return children(data.find(({ tag }) => tag === context(0)) ?? assert.fail(), 'it');
};

/** The version 1 attribute certificate in the timestamp of a signed program, as Microsoft's authorities include it. */
const attributeCertificate = (program: SignableFile): Buffer =>
  (certificatesOf(program).find(({ tag }) => tag === context(1)) ?? assert.fail()).raw;

/** The certificate of the authority, which comes first. */
const authorityOf = (program: SignableFile): Buffer => certificatesOf(program)[0]?.raw ?? assert.fail();

describe('a real signed program', () => {
  for (const { name, path } of signed.filter((each) => each.name !== TWICE))
    it(`${name} is intact, with the digests and signers that osslsigncode shows`, async () => {
      const report = await withFile(path, (file) => verifyProgram(file));
      assert.deepEqual(codes(report), []);
      assert.equal(report.status, 'intact');
      const ours = report.signatures.map(({ digest, signer }) => ({
        digest,
        calculated: digest,
        serial: signer?.serial,
      }));
      assert.deepEqual(ours, await ossl(path));
      assert.ok(report.signatures.every(({ trusted }) => trusted === null));
    });

  it(`${TWICE} has two signatures side by side, as sbverify lists them`, async () => {
    const { path } = await program(TWICE);
    const report = await withFile(path, (file) => verifyProgram(file));
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'intact');
    const { text } = await tool('sbverify', '--list', path);
    const listed = [...text.matchAll(/image signature issuers:\s+- (.*)/g)].map(([, issuer]) => issuer);
    assert.equal(listed.length, 2);
    assert.deepEqual(
      report.signatures.map(({ index, nested, signer }) => ({ index, nested, issuer: signer?.issuer })),
      listed.map((issuer, index) => ({
        index,
        nested: false,
        issuer: issuer?.slice(1).replaceAll('/', ', '),
      })),
    );
  });

  it(`signature-certificate: ${TWICE}, the attribute certificate of its timestamp changed`, async () => {
    const { path } = await program(TWICE);
    const bytes = await readFile(path);
    const own = await openBytes(bytes);
    const at = bytes.indexOf(attributeCertificate(own));
    const holder = createHash('sha1').update(authorityOf(own)).digest();
    const digest = bytes.indexOf(holder, at);
    assert.ok(at > 0 && digest > at);
    bytes.writeUInt8(bytes.readUInt8(digest) ^ 1, digest);
    assert.deepEqual(codes(await verify(bytes)), ['signature-certificate']);
  });

  for (const { name, path } of signed)
    it(`${name} is bad with a byte changed: file-digest-differs`, async () => {
      const bytes = await readFile(path);
      const at = bytes.length >> 1;
      bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      const found = codes(await verify(bytes));
      assert.ok(found.includes('file-digest-differs'), found.join(', '));
    });

  for (const { name, path } of signed)
    it(`${name} is bad if no given root is the right one`, async () => {
      const report = await withFile(path, (file) => verifyProgram(file, { roots: [], timestampRoots: [] }));
      assert.equal(report.status, 'bad');
      assert.ok(report.signatures.every(({ trusted }) => trusted !== true));
    });
});

describe('a real program with a SHA-1 signature and a better one, both expired', () => {
  /** Mozilla's roots, as Debian packs them. */
  const mozilla = async (file: string): Promise<Certificate[]> => {
    const folder = join(await debianPackage('ca-certificates'), 'usr/share/ca-certificates/mozilla');
    return parsePemCertificates(await readFile(join(folder, file), 'utf8'), file);
  };
  const certum = 'Certum_Trusted_Network_CA.crt';
  const sectigo = 'USERTrust_RSA_Certification_Authority.crt';
  const judge = async (roots: Certificate[], timestampRoots: Certificate[]): Promise<VerifyReport> => {
    const { path } = await program('inno-lzma64.exe');
    return withFile(path, (file) => verifyProgram(file, { roots, timestampRoots }));
  };

  it('is ok if both lead to the roots of its publisher and of its timestamps', async () => {
    const report = await judge(await mozilla(certum), await mozilla(sectigo));
    assert.deepEqual(codes(report), []);
    assert.equal(report.status, 'ok');
    assert.deepEqual(
      report.signatures.map(({ digestAlgorithm, trusted }) => [digestAlgorithm, trusted]),
      [
        ['sha1', true],
        ['sha256', true],
      ],
    );
  });

  it('is bad with other roots for signers or timestamps', async () => {
    const [certumRoots, sectigoRoots] = [await mozilla(certum), await mozilla(sectigo)];
    for (const [roots, timestampRoots] of [
      [sectigoRoots, sectigoRoots],
      [certumRoots, certumRoots],
    ] as const) {
      const report = await judge(roots, timestampRoots);
      assert.equal(report.status, 'bad');
      assert.ok(report.signatures.every(({ trusted }) => trusted === false));
    }
  });
});

describe('a real program without a signature', () => {
  for (const { name, path } of all.filter((each) => !each.signed))
    it(`${name} is unsigned`, async () => {
      const report = await withFile(path, (file) => verifyProgram(file));
      assert.equal(report.status, 'unsigned');
    });
});
