/** Packages that signpipe signed, judged by others; and those that others signed, by signpipe. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { openMsix } from '../../../../src/engine/formats/msix/open.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildBundle, buildPackage } from '../../../fixtures/msix.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import {
  bytesOf,
  inFolder,
  must,
  OpensslTimestamper,
  osslsigncode,
  osslsigncodeVerify,
  SIGNATURE_OK,
  source,
  TIMESTAMP_OK,
  writeIdentity,
} from '../../authenticode/tools.ts';
import { publisherOf } from './tools.ts';

let pki: TestPki;
let unsigned: Buffer;
let signed: Buffer;
let bundle: Buffer;

const sign = async (bytes: Buffer): Promise<Buffer> => {
  const key = testSigningKey(pki.codeSigning);
  const timestamper = new OpensslTimestamper(pki.timestamping);
  return bytesOf((await signProgram(await openMsix(source(bytes, 'a.msix')), { key, timestamper })).content);
};

before(async () => {
  pki = await createTestPki({ key: 'rsa2048', intermediate: true });
  const publisher = publisherOf(pki);
  const program = buildPe({ sections: [{ name: '.text', data: filler(100_000, 1) }] });
  unsigned = buildPackage({
    publisher,
    files: [
      { name: 'bin/app.exe', content: program },
      { name: 'logo.png', content: filler(70_000, 2), stored: true },
    ],
  });
  signed = await sign(unsigned);
  bundle = await sign(buildBundle([{ name: 'a.msix', content: signed }], { publisher }));
});

describe('a signed package and a signed bundle', () => {
  it('are accepted by osslsigncode, with their timestamps and all digests', async () => {
    for (const [bytes, digests] of [
      [signed, 5],
      [bundle, 4],
    ] as const) {
      const text = await osslsigncodeVerify(bytes, pki.root);
      assert.match(text, SIGNATURE_OK);
      assert.match(text, TIMESTAMP_OK);
      const lines = (name: string): string[] =>
        [...text.matchAll(new RegExp(`^${name} message digest +: ([0-9A-F]+)`, 'gm'))].map(
          ([, hex = '']) => hex,
        );
      assert.equal(lines('Current').length, digests);
      assert.deepEqual(lines('Calculated'), lines('Current'));
    }
  });

  it('are sound zips to unzip, 7z and Python', () =>
    inFolder(async (folder) => {
      for (const [name, bytes] of [
        ['a.msix', signed],
        ['a.msixbundle', bundle],
      ] as const) {
        const path = join(folder, name);
        await writeFile(path, bytes);
        assert.match(await must('unzip', '-tq', path), /No errors detected/);
        assert.match(await must('7z', 't', '-tzip', path), /Everything is Ok/);
        await must(
          'python3',
          '-c',
          'import sys, zipfile; sys.exit(zipfile.ZipFile(sys.argv[1]).testzip() is not None)',
          path,
        );
      }
    }));
});

describe('a package that osslsigncode signed', () => {
  it('is intact, without a catalog', () =>
    inFolder(async (folder) => {
      await writeIdentity(folder, 'signer', pki.codeSigning);
      const [key, certs] = ['signer.key', 'signer.crt'].map((name) => join(folder, name));
      const options = ['-key', key ?? '', '-certs', certs ?? '', '-h', 'sha256'];
      const file = await openMsix(source(await osslsigncode('sign', unsigned, ...options), 'a.msix'));
      const { status, problems } = await verifySignableFile(file);
      assert.deepEqual([status, problems], ['intact', []]);
      assert.equal(file.parts.catalog, null);
    }));
});
