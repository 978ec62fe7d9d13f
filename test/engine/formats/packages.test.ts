/** Packages that are zips: never signed, verified or proved as zips of programs. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { pinEntries } from '../../../src/app/builder/pin-entries.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { proveFile } from '../../../src/engine/artifact/prove-file.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import { signRemoteZip } from '../../../src/engine/artifact/sign-zip.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile } from '../../../src/engine/artifact/verify-file.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';
import { recognize } from '../../../src/engine/formats/recognize.ts';
import { extra, forge, LIMITS, type Forged } from '../../lib/zip/zips.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { makeSigningSetup } from '../artifact/signing-setup.ts';

const run = promisify(execFile);
const program = buildPe({ sections: [{ name: '.text', data: filler(2000, 1) }] });
const app: Forged = { name: 'app.exe', content: program };

let folder = '';
let signing: SignArtifactOptions;
before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  signing = { ...setup.signing, isOurs: (path) => path.endsWith('.exe') };
});
after(() => rm(folder, { recursive: true }));

const at = (name: string): string => join(folder, name);

async function sign(bytes: Buffer, name = 'product.zip'): Promise<number> {
  await writeFile(at('in.zip'), bytes);
  return (await signFile(at('in.zip'), at('out.zip'), signing, name)).signed.length;
}

/** A zip with a program and empty entries of these names. */
const zipWith = (...names: string[]): Buffer =>
  forge([app, ...names.map((name) => ({ name, content: 'x' }))]);

const refused = (what: RegExp): object => ({ code: 'zip-is-package', kind: 'invalid', message: what });

describe('a package is refused by its entries, whatever its name', () => {
  const packages: [what: RegExp, ...names: string[]][] = [
    [/a signed VSIX package/, 'extension.vsixmanifest', 'package/services/digital-signature/origin.psdor'],
    [/a signed VSIX package/, 'signatures/one.psdsxs'],
    [/a signed VSIX package/, '_xmlsignatures/origin.sigs'],
    [/a signed JAR or APK package/, 'META-INF/MANIFEST.MF', 'META-INF/A.SF', 'META-INF/A.RSA'],
    [/a signed JAR or APK package/, 'META-INF/A.EC'],
    [/a signed JAR or APK package/, 'meta-inf/a.dsa'],
    [/a signed JAR or APK package/, 'META-INF/SIG-ONE'],
    [/a signed JAR or APK package/, 'META-INF/cose.sig'],
    [/a signed JAR or APK package/, './META-INF/A.SF'],
  ];
  for (const [what, ...names] of packages)
    it(`zip-is-package: ${names.join(', ')}`, () => assert.rejects(sign(zipWith(...names)), refused(what)));

  it('zip-is-package: an APPX or MSIX package by a second name that few readers of zips see', () => {
    const name = Buffer.from('AppxBlockMap.xml');
    const head = Buffer.alloc(5);
    head[0] = 1;
    head.writeUInt32LE(crc32(Buffer.from('a.xml')), 1);
    const localExtra = extra(0x7075, Buffer.concat([head, name]));
    return assert.rejects(
      sign(forge([app, { name: 'a.xml', localExtra }])),
      refused(/an APPX or MSIX package/),
    );
  });

  it('zip-is-package: an APK Signing Block, without any META-INF', async () => {
    const content = filler(100, 2);
    const block = Buffer.alloc(8 + content.length + 8 + 16);
    block.writeBigUInt64LE(BigInt(block.length - 8), 0);
    content.copy(block, 8);
    block.writeBigUInt64LE(BigInt(block.length - 8), 8 + content.length);
    block.write('APK Sig Block 42', block.length - 16, 'latin1');
    const apk = forge([app], { beforeDirectory: block });
    await assert.rejects(sign(apk), refused(/holds an APK Signing Block/));
  });

  it('zip-is-package: a JAR that jarsigner signed', async (context) => {
    const made = await jarSignedBy('jarsigner').catch(() => null);
    if (!made) return context.skip('there is no JDK');
    await assert.rejects(sign(made), refused(/a signed JAR/));
  });

  async function jarSignedBy(signer: string): Promise<Buffer> {
    await writeFile(at('app.exe'), program);
    const store = ['-keystore', at('keys.p12'), '-storepass', 'changeit'];
    const key = ['-genkeypair', '-alias', 'a', '-keyalg', 'EC', '-dname', 'CN=A', ...store];
    await run('keytool', key);
    await run('jar', ['cf', at('signed.jar'), '-C', folder, 'app.exe']);
    await run(signer, [...store, at('signed.jar'), 'a']);
    return readFile(at('signed.jar'));
  }
});

describe('a package is refused by its name if its entries do not show it', () => {
  for (const name of ['p.appx', 'p.MSIX', 'p.appxbundle', 'dir/p.msixbundle'])
    it(`zip-is-package: ${name}`, () =>
      assert.rejects(sign(zipWith(), name), refused(/an APPX or MSIX package \(its name says so\)/)));
});

describe('a zip that a changed program does not break is a zip of programs', () => {
  const plain: [name: string, ...names: string[]][] = [
    ['product.jar', 'META-INF/MANIFEST.MF'],
    ['product.nupkg', 'sub/Product.nuspec', '[Content_Types].xml', '_rels/.rels'],
    ['product.vsix', 'sub/extension.vsixmanifest', '[Content_Types].xml'],
    ['product.apk', 'AndroidManifest.xml', 'classes.dex'],
    ['layout.zip', 'AppxManifest.xml'],
    [
      'product.zip',
      'sub/META-INF/A.SF',
      'docs/AppxBlockMap.xml',
      'META-INF/README.SF.txt',
      'x.signature.p7s',
    ],
  ];
  for (const [name, ...names] of plain)
    it(`${name} with ${names.join(', ')}`, async () => assert.equal(await sign(zipWith(...names), name), 1));
});

describe('a package that can be signed is recognised by its entries, whatever its name', () => {
  const packages: string[][] = [
    ['[Content_Types].xml', 'AppxManifest.xml', 'AppxBlockMap.xml', 'AppxSignature.p7x'],
    ['AppxBlockMap.xml'],
    ['appxsignature.P7X'],
    ['[Content_Types].xml', 'AppxManifest.xml'],
    ['AppxMetadata/AppxBundleManifest.xml'],
    ['AppxMetadata\\CodeIntegrity.cat'],
  ];
  for (const names of packages)
    it(`msix: ${names.join(', ')}`, async () => {
      for (const name of ['a.zip', 'a.exe', 'a.msix', 'a'])
        assert.equal(await recognize(new BufferSource(zipWith(...names), name)), 'program');
    });
});

describe('other commands refuse a package, too', () => {
  const bytes = zipWith('META-INF/A.SF');
  before(() => writeFile(at('p.zip'), bytes));

  it('zip-is-package: verify', () =>
    assert.rejects(verifyFile(at('p.zip'), { limits: LIMITS, scratch: folder }), refused(/A\.SF/)));

  it('zip-is-package: the proof', () =>
    assert.rejects(
      proveFile(at('p.zip'), at('p.zip'), { limits: LIMITS, scratch: folder }),
      refused(/A\.SF/),
    ));

  it('zip-is-package: pinning its programs', () =>
    assert.rejects(pinEntries(at('p.zip'), { isMeant: signing.isOurs, limits: LIMITS }), refused(/A\.SF/)));

  it('zip-is-package: signing it where it lies', async () => {
    const far = Object.assign(new BufferSource(bytes, 'p.zip'), { prefetch: () => {} });
    const pins = new Map([['app.exe', sha256Hex(program)]]);
    await assert.rejects(signRemoteZip(far, at('fresh'), { ...signing, pins }), refused(/A\.SF/));
  });
});
