/** Programs that can be read but must not be signed. */
import assert from 'node:assert/strict';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { forge, LIMITS } from '../../lib/zip/zips.ts';
import { osslSigned, verify } from '../authenticode/verify-maker.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { makeSigningSetup } from './signing-setup.ts';

let folder = '';
let options: SignArtifactOptions;
before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  options = {
    ...setup.signing,
    isOurs: () => true,
    limits: { ...LIMITS, archive: 2 ** 40, entry: 2 ** 40, ratio: 2 ** 40 },
  };
});
after(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);
const sign = (name: string, more: Partial<SignArtifactOptions> = {}): Promise<unknown> =>
  signFile(at(name), at('out'), { ...options, ...more });

describe('a program that has no room for a signature below 4 GiB', () => {
  for (const [size, text] of [
    [2 ** 32 - 1, 'signed, it would be larger than 4 GiB'],
    [2 ** 32, 'larger than 4 GiB'],
  ] as const)
    it(`pe-too-large: ${size} bytes, before a byte of them is hashed or copied`, async () => {
      await writeFile(at('large.exe'), buildPe());
      await truncate(at('large.exe'), size);
      const start = performance.now();
      await assert.rejects(sign('large.exe'), { code: 'pe-too-large', message: new RegExp(text) });
      assert.ok(performance.now() - start < 500);
      assert.ok(!(await readdir(folder)).includes('out'));
      await rm(at('large.exe'));
    });

  it('pe-too-large: an entry that claims this size, before it is unpacked', async () => {
    const size = 2 ** 32 - 2;
    const local = (header: Buffer): unknown => header.writeUInt32LE(size, 22);
    const central = (header: Buffer): unknown => header.writeUInt32LE(size, 24);
    const zip = forge([{ name: 'app.exe', content: buildPe(), local, central }]);
    await writeFile(at('large.zip'), zip);
    await assert.rejects(sign('large.zip'), { code: 'pe-too-large', message: /app\.exe/ });
  });
});

describe('a Burn bundle', () => {
  const bundle = buildPe({
    sections: [
      { name: '.text', data: filler(600) },
      { name: '.wixburn', data: filler(56, 2) },
    ],
    overlay: filler(1000),
    checksum: 'right',
  });

  it('burn-bundle: alone or in a zip, with every policy for signed programs', async () => {
    await writeFile(at('setup.exe'), bundle);
    await writeFile(at('setup.zip'), forge([{ name: 'setup.exe', content: bundle }]));
    for (const alreadySigned of ['keep', 'replace', 'append', 'reject'] as const)
      for (const name of ['setup.exe', 'setup.zip'])
        await assert.rejects(sign(name, { alreadySigned }), { code: 'burn-bundle', message: /setup\.exe/ });
  });

  it('burn-bundle: signed by others, if that is to be replaced or appended to', async () => {
    const signed = await osslSigned({ program: bundle });
    await writeFile(at('setup.exe'), signed);
    for (const alreadySigned of ['replace', 'append'] as const)
      await assert.rejects(sign('setup.exe', { alreadySigned }), { code: 'burn-bundle' });
  });

  it('is verified, and kept, like any other program', async () => {
    const signed = await osslSigned({ program: bundle });
    assert.equal((await verify(signed)).status, 'intact');
    await writeFile(
      at('setup.zip'),
      forge([
        { name: 'app.exe', content: buildPe() },
        { name: 'setup.exe', content: signed },
      ]),
    );
    const { kept } = (await sign('setup.zip')) as { kept: { path: string }[] };
    assert.deepEqual(
      kept.map(({ path }) => path),
      ['setup.exe'],
    );
  });
});
