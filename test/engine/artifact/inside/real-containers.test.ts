/** Containers that other tools make, in one another: signed from the inside out, and unpacked again by other tools. */
import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { compilePatterns } from '../../../../src/engine/artifact/globs.ts';
import { shownPlace } from '../../../../src/engine/artifact/inside/place.ts';
import { run } from '../../../lib/zip/zips.ts';
import { isSigned, makeNesting, program, zipOf, type Nesting, type Tried } from './nesting.ts';

const WXS = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Name="P" Id="*" UpgradeCode="de9d9b5c-2c0f-4a2f-9a51-0c3a1f0d6b10" Language="1033" Version="1.0" Manufacturer="M">
    <Package Compressed="yes" />
    <Media Id="1" Cabinet="media1.cab" EmbedCab="yes" />
    <Directory Id="TARGETDIR" Name="SourceDir">
      <Component Id="C" Guid="7d0a1c0a-52c5-4e43-a0bf-2b7b1d7d0a11">
        <File Id="AppExe" Name="app.exe" Source="app.exe" />
        <File Id="Readme" Name="readme.txt" Source="readme.txt" />
      </Component>
    </Directory>
    <Feature Id="F" Level="1"><ComponentRef Id="C" /></Feature>
  </Product>
</Wix>`;

let world: Nesting;
let release: Buffer;
let tried: Tried;
const at = (...names: string[]): string => join(world.folder, ...names);

before(async () => {
  world = await makeNesting();
  const made = at('made');
  await mkdir(made);
  const files = {
    'app.exe': program(1),
    'driver.exe': program(2),
    'deep.exe': program(3),
    'readme.txt': Buffer.from('x'),
  };
  for (const [name, content] of Object.entries(files)) await writeFile(join(made, name), content);
  await writeFile(join(made, 'p.wxs'), WXS);
  const cwd = { cwd: made };
  await run('wixl', ['-o', 'setup.msi', 'p.wxs'], cwd);
  await run('gcab', ['-czn', 'drivers.cab', 'driver.exe', 'readme.txt'], cwd);
  await run('gcab', ['-cn', 'deep.cab', 'deep.exe'], cwd);
  const read = (name: string): Promise<Buffer> => readFile(join(made, name));
  release = zipOf({
    'setup.msi': await read('setup.msi'),
    'drivers.cab': await read('drivers.cab'),
    'extra.zip': zipOf({ 'deep.cab': await read('deep.cab') }),
    'readme.txt': Buffer.from('release'),
  });
  const isOurs = compilePatterns(['**/*.exe', '**/*.msi', '**/*.cab']);
  tried = await world.sign('release.zip', release, { isOurs });
});
after(() => rm(world.folder, { recursive: true }));

/** The programs in a folder, by name. */
async function programsIn(folder: string): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (const each of await readdir(folder, { withFileTypes: true, recursive: true }))
    if (each.isFile() && each.name.endsWith('.exe'))
      found.set(each.name, await readFile(join(each.parentPath, each.name)));
  return found;
}

describe('a release with a package of Windows Installer, a cabinet, and a cabinet in a zip', () => {
  it('is signed from the inside out', () => {
    assert.deepEqual(tried.places, [
      'setup.msi!/AppExe/app.exe',
      'setup.msi',
      'drivers.cab!/driver.exe',
      'drivers.cab',
      'extra.zip!/deep.cab!/deep.exe',
      'extra.zip!/deep.cab',
    ]);
    assert.deepEqual(
      tried.plan.steps.map(({ action, format }) => `${action} ${format}`),
      ['sign pe', 'sign msi', 'sign pe', 'sign cab', 'sign pe', 'sign cab', 'pack zip'],
    );
  });

  it('is verified, proven, and made again from the unsigned one', async () => {
    const report = await world.verify('release.zip', tried.bytes);
    assert.deepEqual([report.status, report.unread, report.unsignedInside], ['intact', [], []]);
    assert.deepEqual(report.programs.map(shownPlace).sort(), tried.places.toSorted());
    const proof = await world.prove('release.zip', release, tried.bytes);
    assert.deepEqual(proof.signed.map(shownPlace).sort(), tried.places.toSorted());
    assert.deepEqual(await world.attach('release.zip', release, tried.signed.signed), tried.bytes);
  });

  it('is unpacked by unzip, msiextract and cabextract, whose programs are signed', async () => {
    const out = at('out');
    await writeFile(at('signed.zip'), tried.bytes);
    await run('unzip', ['-q', at('signed.zip'), '-d', out]);
    await run('unzip', ['-q', join(out, 'extra.zip'), '-d', out]);
    await run('msiextract', ['-C', join(out, 'from-msi'), join(out, 'setup.msi')]);
    for (const name of ['drivers.cab', 'deep.cab'])
      await run('cabextract', ['-q', '-d', out, join(out, name)]);
    const programs = await programsIn(out);
    assert.deepEqual([...programs.keys()].sort(), ['app.exe', 'deep.exe', 'driver.exe']);
    for (const [name, bytes] of programs) {
      assert.ok(await isSigned(bytes), name);
      const entry = tried.signed.signed.find(({ path }) => path.split('/').at(-1) === name);
      assert.equal(bytes.length, entry?.after.size, name);
    }
  });
});

it('by default the programs inside are named, and what is signed stays as it is inside', async () => {
  const isOurs = compilePatterns(['**/*.exe', '**/*.msi', '**/*.cab']);
  const { places, signed, bytes } = await world.sign('release.zip', release, { isOurs, inside: 'report' });
  assert.deepEqual(places, ['setup.msi', 'drivers.cab']);
  assert.deepEqual(signed.unsignedInside.map(shownPlace), [
    'setup.msi!/AppExe/app.exe',
    'drivers.cab!/driver.exe',
  ]);
  const report = await world.verify('release.zip', bytes);
  assert.deepEqual(report.unsignedInside.map(shownPlace), [
    'setup.msi!/AppExe/app.exe',
    'drivers.cab!/driver.exe',
  ]);
});
