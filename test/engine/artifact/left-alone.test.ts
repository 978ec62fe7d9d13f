/** Entries that signing leaves as they are, and says so: AppleDouble files, and zips inside the zip. */
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { compilePatterns } from '../../../src/engine/artifact/globs.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignedFile, SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { shownPlace } from '../../../src/engine/artifact/inside/place.ts';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { forge, LIMITS, type Forged } from '../../lib/zip/zips.ts';
import { windowsNameText } from '../../../src/lib/x509/windows-name.ts';
import type { Certificate } from '../../../src/lib/x509/certificate.ts';
import { buildPackage } from '../../fixtures/msix.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { makeSigningSetup } from './signing-setup.ts';

const program = (seed: number): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });
const app: Forged = { name: 'app.exe', content: program(1) };
const appleDouble = Buffer.concat([Buffer.from('0005160700020000', 'hex'), filler(100, 2)]);

let folder = '';
let signing: SignArtifactOptions;
before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  signing = { ...setup.signing, isOurs: compilePatterns(['**/*.exe', '**/*.dll']) };
});
after(() => rm(folder, { recursive: true }));

const output = (): string => join(folder, 'out.zip');
async function sign(entries: Forged[], more: Partial<SignArtifactOptions> = {}): Promise<SignedFile> {
  const input = join(folder, 'in.zip');
  await writeFile(input, forge(entries));
  return signFile(input, output(), { ...signing, ...more });
}

describe('an AppleDouble file that the patterns name', () => {
  for (const name of ['__MACOSX/._app.exe', '._app.exe', 'bin/._App.DLL'])
    it(`is left alone and named: ${name}`, async () => {
      const made = await sign([app, { name, content: appleDouble }]);
      assert.deepEqual(
        made.signed.map(({ path }) => path),
        ['app.exe'],
      );
      assert.deepEqual(made.leftAlone, [{ path: name, why: 'apple-double' }]);
      const { isOurs } = signing;
      const report = await verifyFile(output(), { limits: LIMITS, scratch: folder, isMeant: isOurs });
      assert.equal(report.status, 'intact', JSON.stringify(report.unread));
    });

  it('is left alone also if it is pinned, and checked against its pin', async () => {
    const name = '__MACOSX/._app.exe';
    const pins = new Map([
      ['app.exe', sha256Hex(program(1))],
      [name, sha256Hex(appleDouble)],
    ]);
    assert.equal((await sign([app, { name, content: appleDouble }], { pins })).leftAlone.length, 1);
    pins.set(name, '0'.repeat(64));
    await assert.rejects(sign([app, { name, content: appleDouble }], { pins }), {
      code: 'entry-digest-differs',
    });
  });

  it('nothing-to-sign: if there is nothing else', () =>
    assert.rejects(sign([{ name: '._app.exe', content: appleDouble }]), { code: 'nothing-to-sign' }));
});

describe('nothing else is left alone', () => {
  it('a program under __MACOSX, and one whose name begins with ._, are signed', async () => {
    const made = await sign([
      app,
      { name: '__MACOSX/evil.exe', content: program(3) },
      { name: '__MACOSX/._evil.exe', content: program(4) },
      { name: '._other.dll', content: program(5) },
    ]);
    assert.equal(made.signed.length, 4);
    assert.deepEqual(made.leftAlone, []);
  });

  for (const [what, entry] of [
    ['a text under __MACOSX', { name: '__MACOSX/note.exe', content: 'text' }],
    ['a text whose name begins with ._', { name: '._note.exe', content: 'text' }],
    ['AppleDouble content under another name', { name: '__MACOSX/app.exe', content: appleDouble }],
    ['AppleSingle content', { name: '._a.exe', content: Buffer.from('0005160000020000', 'hex') }],
    [
      'AppleDouble content in a folder whose name begins with ._',
      { name: '._x/a.exe', content: appleDouble },
    ],
  ] as const)
    it(`not-a-program: ${what}`, () => assert.rejects(sign([app, entry]), { code: 'not-a-program' }));
});

describe('zips inside a zip', () => {
  const inner = forge([{ name: 'inner.exe', content: program(6) }]);

  it('are named by the result, and copied as they are', async () => {
    const names = ['inner.zip', 'lib/a.JAR', 'pkg/b.nupkg', 'c.msix', 'd.whl'];
    const made = await sign([app, ...names.map((name) => ({ name, content: inner, method: 0 }))]);
    assert.deepEqual(
      made.leftAlone,
      names.map((path) => ({ path, why: 'nested-zip' })),
    );
    assert.ok((await readFile(output())).includes(inner));
  });

  it('are not packages that are signed', async () => {
    const [{ subjectDer }] = signing.key.certificates as [Certificate];
    const content = buildPackage({ publisher: windowsNameText(subjectDer, 'it') });
    const isOurs = compilePatterns(['**/*.msix']);
    const made = await sign(
      [
        { name: 'a.msix', content },
        { name: 'b.zip', content: inner },
      ],
      { isOurs },
    );
    assert.deepEqual(made.leftAlone, [{ path: 'b.zip', why: 'nested-zip' }]);
  });

  it('are opened by verify, which recognises them by content', async () => {
    await sign([app, { name: 'inner.zip', content: inner }, { name: 'data.bin', content: inner }]);
    const { status, programs } = await verifyFile(output(), { limits: LIMITS, scratch: folder });
    assert.deepEqual(
      [status, programs.map((program) => [shownPlace(program), program.status])],
      [
        'intact',
        [
          ['app.exe', 'intact'],
          ['inner.zip!/inner.exe', 'unsigned'],
          ['data.bin!/inner.exe', 'unsigned'],
        ],
      ],
    );
  });
});
