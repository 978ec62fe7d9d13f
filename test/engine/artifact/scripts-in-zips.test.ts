/** Scripts are known by name alone: in a zip, those without a signature are left alone unless the patterns name them. */
import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compilePatterns } from '../../../src/engine/artifact/globs.ts';
import { isOtherFile } from '../../../src/engine/artifact/other-file.ts';
import { signFile } from '../../../src/engine/artifact/sign-file.ts';
import type { SignArtifactOptions } from '../../../src/engine/artifact/signed-artifact.ts';
import { verifyFile, type FileReport } from '../../../src/engine/artifact/verify-file.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { forge, LIMITS, type Forged } from '../../lib/zip/zips.ts';
import { signScript } from '../formats/script/scripts.ts';
import { makeSigningSetup } from './signing-setup.ts';

let folder = '';
let signing: Omit<SignArtifactOptions, 'isOurs'>;
const program: Forged = {
  name: 'app.exe',
  content: buildPe({ sections: [{ name: '.text', data: filler(600, 1) }] }),
};
before(async () => ({ folder, signing } = await makeSigningSetup()));
after(() => rm(folder, { recursive: true }));

/** A zip of one entry with a script before it, with offsets as unpackers expect. */
function withScript(script: string, zip: Buffer): Buffer {
  const both = Buffer.concat([Buffer.from(script), zip]);
  const end = both.length - 22;
  const directory = both.readUInt32LE(end + 16) + script.length;
  both.writeUInt32LE(directory, end + 16);
  both.writeUInt32LE(script.length, directory + 42);
  return both;
}

async function verify(entries: readonly Forged[], ...patterns: string[]): Promise<FileReport> {
  const path = join(folder, 'it.zip');
  await writeFile(path, forge([...entries]));
  const isMeant = patterns.length > 0 ? compilePatterns(patterns) : undefined;
  return verifyFile(path, { limits: LIMITS, scratch: folder, isMeant });
}

const programsOf = ({ programs }: FileReport): string[] =>
  programs.map(({ path, status }) => `${path} ${status}`);

/** A script of about this many bytes, which compresses badly. */
const long = (size: number): string => {
  const text = filler(size, 3).toString('base64');
  return `// ${text.slice(0, size)}\n`;
};

describe('scripts in a zip that is verified', () => {
  it('are not listed if nothing signed them and no pattern names them', async () => {
    const scripts = [1, 5_000, 100_000].map((size) => ({
      name: `node_modules/${size}.js`,
      content: Buffer.from(long(size)),
    }));
    const others = [
      { name: 'ümlaut.ps1', content: Buffer.from('ü') },
      { name: 'binary.js', content: Buffer.from('a\0b') },
      {
        name: 'about-blocks.js',
        content: Buffer.from(`x = "// SIG // Begin signature block"; ${long(2000)}`),
      },
    ];
    assert.deepEqual(programsOf(await verify([program, ...scripts, ...others])), ['app.exe unsigned']);
  });

  it('are verified if they are signed, small or large, and in each encoding', async () => {
    const { key } = signing;
    const scripts = await Promise.all(
      [
        ['a.js', Buffer.from('1')],
        ['b.wsf', Buffer.from('<job></job>')],
        ['c.ps1', Buffer.from(`\ufeff# ${long(100_000)}`, 'utf16le')],
        ['d.vbs', Buffer.from(`\ufeff' ${long(70_000)}`, 'utf16le').swap16()],
      ].map(async ([name, bytes]) => ({
        name: name as string,
        content: await signScript(name as string, bytes as Buffer, key),
      })),
    );
    assert.deepEqual(programsOf(await verify(scripts)), [
      'a.js intact',
      'b.wsf intact',
      'c.ps1 intact',
      'd.vbs intact',
    ]);
  });

  it('make the zip bad if their signature block was changed', async () => {
    const signed = await signScript('a.js', Buffer.from('1'), signing.key);
    const content = Buffer.from(signed.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
    const report = await verify([program, { name: 'a.js', content }]);
    assert.deepEqual([report.status, programsOf(report)], ['bad', ['app.exe unsigned', 'a.js bad']]);
  });

  it('are listed as unsigned if the patterns name them', async () => {
    const report = await verify(
      [
        { name: 'a.ps1', content: Buffer.from('1') },
        { name: 'b.js', content: Buffer.from('1') },
      ],
      '*.ps1',
    );
    assert.deepEqual(programsOf(report), ['a.ps1 unsigned']);
  });
});

describe('scripts that are signed', () => {
  it('are those that the patterns name', async () => {
    const path = join(folder, 'in.zip');
    const script = (name: string): Forged => ({ name, content: Buffer.from('1') });
    await writeFile(path, forge([program, script('setup.ps1'), script('node_modules/a.js')]));
    const isOurs = compilePatterns(['**/*.exe', '**/*.ps1']);
    const { signed } = await signFile(path, join(folder, 'out.zip'), { ...signing, isOurs });
    assert.deepEqual(
      signed.map(({ path, format }) => [path, format]),
      [
        ['app.exe', 'pe'],
        ['setup.ps1', 'powershell'],
      ],
    );
  });

  it('script-is-zip: a zip with the name of a script, or with a script before it', async () => {
    const path = join(folder, 'a.ps1');
    const options = { ...signing, isOurs: () => true };
    for (const script of ['', '#!evil\n']) {
      await writeFile(path, withScript(script, forge([program])));
      await assert.rejects(verifyFile(path, { limits: LIMITS, scratch: folder }), { code: 'script-is-zip' });
      await assert.rejects(signFile(path, join(folder, 'b.ps1'), options), { code: 'script-is-zip' });
    }
  });

  it('script-binary: a script with a zip behind it that readers of zips would not find', async () => {
    const path = join(folder, 'c.ps1');
    await writeFile(path, Buffer.concat([Buffer.from('evil\r\n'), forge([program])]));
    assert.equal((await verifyFile(path, { limits: LIMITS, scratch: folder })).status, 'unsigned');
    const options = { ...signing, isOurs: () => true };
    await assert.rejects(signFile(path, join(folder, 'd.ps1'), options), { code: 'script-binary' });
  });

  it('alone, count as other files if no pattern names them', async () => {
    const path = join(folder, 'alone.js');
    await writeFile(path, '1');
    assert.equal(await isOtherFile(path, 'alone.js', compilePatterns(['*.exe'])), true);
    assert.equal(await isOtherFile(path, 'alone.js', compilePatterns(['*.js'])), false);
  });
});
