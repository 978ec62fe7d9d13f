/** `signpipe catalog` and `verify --folder`, judged by osslsigncode and OpenSSL. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { catalogCommand } from '../../../src/cli/commands/catalog.ts';
import { signCommand } from '../../../src/cli/commands/sign.ts';
import { verifyCommand } from '../../../src/cli/commands/verify.ts';
import { createTestPki, keyToPem, toPem } from '../../../src/sandbox/certificates.ts';
import { must } from '../../engine/authenticode/tools.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { assertRefused, signpipe, type Ended } from '../../world/site.ts';

let folder: string;
const at = (...names: string[]): string => join(folder, ...names);
const here = (...args: string[]): Promise<Ended> => signpipe(args, { cwd: folder });
const KEY = ['--certificate', 'code.pem', '--key', 'code.key'];
const keyFiles = (): { certificate: string; key: string } => ({
  certificate: at('code.pem'),
  key: at('code.key'),
});

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-catalog-'));
  const pki = await createTestPki({ key: 'rsa2048', intermediate: false });
  await writeFile(at('code.pem'), toPem(pki.codeSigning.chain));
  await writeFile(at('code.key'), keyToPem(pki.codeSigning.key), { mode: 0o600 });
  await writeFile(at('ca.pem'), toPem([pki.root.certificate]));
  await mkdir(at('driver'));
  await writeFile(at('driver', 'x.inf'), '[Version]\r\n');
  await writeFile(
    at('driver', 'x.sys'),
    buildPe({ checksum: 'right', sections: [{ name: '.text', data: filler(600, 1) }] }),
  );
});
after(() => rm(folder, { recursive: true }));

describe('signpipe catalog', () => {
  it('makes and signs a catalog in which osslsigncode finds the program, and OpenSSL every value', async () => {
    const made = await here('catalog', 'driver', '-o', 'driver/x.cat', ...KEY);
    assert.deepEqual(
      [made.status, made.stdout],
      [0, 'driver/x.cat: lists 2 files; signed, not timestamped\n'],
      made.stderr,
    );
    const judged = await must(
      'osslsigncode',
      'verify',
      '-CAfile',
      at('ca.pem'),
      '-catalog',
      at('driver', 'x.cat'),
      '-in',
      at('driver', 'x.sys'),
    );
    assert.match(judged, /File is signed in catalog[^]*Signature verification: ok/);
    const values = await must('openssl', 'asn1parse', '-inform', 'DER', '-in', at('driver', 'x.cat'));
    assert.match(values, /1\.3\.6\.1\.4\.1\.311\.12\.1\.3[^]*1\.3\.6\.1\.4\.1\.311\.12\.2\.3/);
    const verified = await here('verify', 'driver/x.cat', '--ca', 'ca.pem', '--folder', 'driver');
    assert.deepEqual(
      [verified.status, /2 files as the catalog says/.test(verified.stdout)],
      [0, true],
      verified.stdout,
    );
  });

  it('makes one without a key too, which `sign` signs to the same bytes', async () => {
    const made = await here(
      'catalog',
      'driver',
      '-o',
      'x.cat',
      '--unsigned',
      '--time',
      '2026-01-31 09:30:05',
    );
    assert.deepEqual([made.status, made.stdout], [0, 'x.cat: lists 3 files; not signed\n'], made.stderr);
    await here('catalog', 'driver', '-o', 'y.cat', '--time', '2026-01-31T09:30:05Z', ...KEY);
    await here('sign', 'x.cat', '--output', 'z.cat', ...KEY);
    assert.deepEqual(await readFile(at('z.cat')), await readFile(at('y.cat')));
  });

  it('names the files that are not as the catalog lists them', async () => {
    await here('catalog', 'driver/x.inf', '-o', 'one.cat', '--json', ...KEY);
    const { status, stdout } = await here('verify', 'one.cat', '--ca', 'ca.pem', '--folder', 'driver');
    assert.equal(status, 3);
    assert.match(stdout, /FAILED: x\.sys: the catalog does not list it \[catalog-file-extra\]/);
  });

  it('refuses wrong options by name, and then writes nothing', async () => {
    const refused = await here('catalog', 'nothing', '-o', 'no.cat', '--unsigned');
    assertRefused(refused, 2, 'file-not-found');
    // Only for speed in this process.
    const common = { timestamp: new Array<string>(), digest: 'sha256' as const };
    const unsigned = { ...common, output: at('no.cat'), unsigned: true };
    const other = {
      ...common,
      ...keyFiles(),
      alreadySigned: 'reject',
      inside: 'ignore',
      output: at('x.txt'),
    } as const;
    for (const [code, run] of [
      ['time-unreadable', () => catalogCommand([at('driver')], { ...unsigned, time: 'soon' })],
      ['key-missing', () => catalogCommand([at('driver')], { ...unsigned, unsigned: false })],
      ['catalog-attribute', () => catalogCommand([at('driver')], { ...unsigned, attribute: ['HWID1'] })],
      ['output-extension', () => catalogCommand([at('driver')], { ...unsigned, output: at('no.txt') })],
      ['output-extension', () => signCommand([at('x.ps1')], other)],
      ['one-folder-for-several', () => verifyCommand(['one.cat', 'x.cat'], { folder: 'driver' })],
    ] as const)
      await assert.rejects(run(), { code, kind: 'usage' });
    await assert.rejects(readFile(at('no.cat')), { code: 'ENOENT' });
  });
});
