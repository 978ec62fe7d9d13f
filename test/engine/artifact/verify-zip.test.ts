/** How verifying a zip reports entries that it cannot read; and that what was signed is verified. */
import assert from 'node:assert/strict';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { crc32 } from 'node:zlib';
import { compilePatterns } from '../../../src/engine/artifact/globs.ts';
import { proveFile } from '../../../src/engine/artifact/prove-file.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile, type FileReport } from '../../../src/engine/artifact/verify-file.ts';
import { forge, LIMITS, type Forged } from '../../lib/zip/zips.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { makeSigningSetup } from './signing-setup.ts';

const program = (seed: number): Buffer =>
  buildPe({ sections: [{ name: '.text', data: filler(2000, seed) }] });

/** The attributes of a symbolic link, as Info-ZIP and git write them. */
const LINK = 0o120777 * 65536;

let folder = '';
let signing: Omit<SignArtifactOptions, 'isOurs'>;
let signed: Forged;
before(async () => {
  const setup = await makeSigningSetup();
  folder = setup.folder;
  signing = setup.signing;
  const [input, output] = [join(folder, 'app.exe'), join(folder, 'app.signed.exe')];
  await writeFile(input, program(1));
  await signFile(input, output, { ...signing, isOurs: () => true });
  signed = { name: 'app.exe', content: await readFile(output) };
});
after(() => rm(folder, { recursive: true }));

async function verify(entries: Forged[], ...patterns: string[]): Promise<FileReport> {
  const path = join(folder, 'it.zip');
  await writeFile(path, forge(entries));
  const isMeant = patterns.length > 0 ? compilePatterns(patterns) : undefined;
  return verifyFile(path, { limits: LIMITS, scratch: folder, isMeant });
}

const unreadOf = ({ unread }: FileReport): [path: string, code: string, suspect: boolean][] =>
  unread.map(({ path, code, suspect }) => [path, code, suspect]);

/** Bytes that cannot be inflated. */
const packedOtherwise = (name: string, method = 9): Forged => ({
  name,
  method,
  content: program(2),
  data: filler(500, 3),
});

describe('verifying a zip with entries that cannot be read', () => {
  for (const [what, method] of [
    ['Deflate64', 9],
    ['bzip2', 12],
    ['LZMA', 14],
    ['Zstandard', 93],
    ['xz', 95],
  ] as const)
    it(`zip-method-unsupported: a program packed with ${what} makes it bad`, async () => {
      const report = await verify([signed, packedOtherwise('evil.exe', method)]);
      assert.equal(report.status, 'bad');
      assert.deepEqual(unreadOf(report), [['evil.exe', 'zip-method-unsupported', true]]);
      assert.match(report.unread[0]?.message ?? '', new RegExp(`"evil\\.exe".*method ${method}`));
    });

  it('suspects names that a program can have, in any case and folder', async () => {
    for (const name of ['x.DLL', 'a/b.sys', 'setup.msi', 'boot.efi', 'x.ocx', 'x.cpl', 'x.scr', 'x.com'])
      assert.equal((await verify([signed, packedOtherwise(name)])).status, 'bad', name);
  });

  it('names others, which do not count against it', async () => {
    for (const name of ['data.bin', 'readme.txt', 'exe', 'a.exe.config']) {
      const report = await verify([signed, packedOtherwise(name)]);
      assert.equal(report.status, 'intact', name);
      assert.deepEqual(unreadOf(report), [[name, 'zip-method-unsupported', false]]);
    }
  });

  it('uses the patterns if there are any, whatever the name', async () => {
    const entries = [signed, packedOtherwise('other/evil.exe'), packedOtherwise('data.bin')];
    assert.equal((await verify(entries, '*.exe')).status, 'intact');
    assert.equal((await verify(entries, '**/*.exe')).status, 'bad');
    assert.equal((await verify(entries, '**/*.exe', '!other/**')).status, 'intact');
    assert.equal((await verify(entries, '*.exe', '*.bin')).status, 'bad');
  });

  it('suspects a name if one of its forms is that of a program', async () => {
    // The Unicode Path field (0x7075) names a program; the header's name does not.
    const name = Buffer.from('data.bin');
    const field = Buffer.alloc(9 + 'evil.exe'.length);
    field.writeUInt16LE(0x7075, 0);
    field.writeUInt16LE(field.length - 4, 2);
    field[4] = 1;
    field.writeUInt32LE(crc32(name) ^ 1, 5);
    field.write('evil.exe', 9);
    const report = await verify([signed, { ...packedOtherwise('x'), name, flags: 0, localExtra: field }]);
    assert.deepEqual([report.status, unreadOf(report)[0]?.[2]], ['bad', true]);
  });

  it('zip-entry-damaged: a program whose stream cannot be inflated from the start', async () => {
    const report = await verify([
      signed,
      { ...packedOtherwise('evil.exe', 8), data: Buffer.alloc(99, 0xff) },
    ]);
    assert.equal(report.status, 'bad');
    assert.deepEqual(unreadOf(report), [['evil.exe', 'zip-entry-damaged', true]]);
  });

  it('zip-entry-encrypted: is refused as a whole, and the entry named', () =>
    assert.rejects(verify([signed, { name: 'evil.exe', content: 'x', flags: 0x801 }]), {
      code: 'zip-entry-encrypted',
      message: /evil\.exe/,
    }));

  it('not-a-program: a pattern names something else, which signing would refuse too', async () => {
    // A program for DOS begins with MZ too, and 32-bit Windows runs it.
    const dos = Buffer.alloc(300);
    dos.write('MZ');
    dos.writeUInt32LE(0x40, 0x3c);
    const entries = [signed, { name: 'old.exe', content: dos }, { name: 'readme.txt', content: 'x' }];
    assert.equal((await verify(entries)).status, 'intact');
    const report = await verify(entries, '**/*.exe');
    assert.deepEqual([report.status, unreadOf(report)], ['bad', [['old.exe', 'not-a-program', true]]]);
  });
});

describe('verifying a zip with links', () => {
  const link: Forged = { name: 'current.exe', content: 'app.exe', method: 0, attributes: LINK };

  it('accepts a link: its target is verified under its own name', async () => {
    const report = await verify([signed, link]);
    assert.deepEqual([report.status, report.unread], ['intact', []]);
  });

  it('zip-entry-not-a-file: unless a pattern names the link', async () => {
    const report = await verify([signed, link], '**/*.exe');
    assert.equal(report.status, 'bad');
    assert.deepEqual(unreadOf(report), [['current.exe', 'zip-entry-not-a-file', true]]);
    assert.equal((await verify([signed, link], '**/*.exe', '!current.exe')).status, 'intact');
  });
});

describe('what is signed is verified and proved', () => {
  const ours: Forged = { name: 'app.exe', content: program(5) };
  const neighbours: [what: string, ...entries: Forged[]][] = [
    ['a link', { name: 'cur', content: 'app.exe', method: 0, attributes: LINK }],
    ['a file that compresses a thousandfold', { name: 'zeros.bin', content: Buffer.alloc(4 * 1024 * 1024) }],
    ['many such files', ...[1, 2, 3].map((i) => ({ name: `${i}.bin`, content: Buffer.alloc(2 ** 20) }))],
    ['a file packed in another way', packedOtherwise('data.bin', 14)],
    ['a damaged file', { ...packedOtherwise('data.bin', 8), data: Buffer.alloc(99, 0xff) }],
    ['a file larger than a program may be', { name: 'large.bin', content: filler(300_000, 6), method: 0 }],
  ];
  for (const [what, ...entries] of neighbours)
    it(`beside ${what}`, async () => {
      const [input, output] = [join(folder, 'in.zip'), join(folder, 'out.zip')];
      await writeFile(input, forge([ours, ...entries]));
      const options = {
        ...signing,
        isOurs: compilePatterns(['**/*.exe']),
        limits: { ...LIMITS, entry: 200_000 },
      };
      const made = await signFile(input, output, options);
      assert.deepEqual(
        made.signed.map(({ path }) => path),
        ['app.exe'],
      );
      for (const isMeant of [undefined, options.isOurs]) {
        const report = await verifyFile(output, { limits: options.limits, scratch: folder, isMeant });
        assert.equal(report.status, 'intact', JSON.stringify(report.unread));
      }
      assert.deepEqual(
        (await proveFile(input, output, options)).signed.map(({ path }) => path),
        ['app.exe'],
      );
    });

  it('zip-bomb: a program that compresses a thousandfold is neither signed nor verified', async () => {
    const bomb: Forged = {
      name: 'bomb.exe',
      content: Buffer.concat([program(7), Buffer.alloc(4 * 2 ** 20)]),
    };
    const [input, output] = [join(folder, 'bomb.zip'), join(folder, 'bombed.zip')];
    await writeFile(input, forge([ours, bomb]));
    const options = { ...signing, isOurs: compilePatterns(['**/*.exe']) };
    await assert.rejects(signFile(input, output, options), { code: 'zip-bomb' });
    assert.deepEqual(unreadOf(await verifyFile(input, { limits: LIMITS, scratch: folder })), [
      ['bomb.exe', 'zip-bomb', true],
    ]);
    const isOurs = compilePatterns(['app.exe']);
    await signFile(input, output, { ...options, isOurs });
    assert.equal(
      (await verifyFile(output, { limits: LIMITS, scratch: folder, isMeant: isOurs })).status,
      'intact',
    );
  });
});
