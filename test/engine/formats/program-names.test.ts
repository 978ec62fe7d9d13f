import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import {
  DEFAULT_FILES,
  mayBeProgram,
  mayBeZip,
  patternsMatching,
} from '../../../src/engine/formats/program-names.ts';
import { FORMATS } from '../../../src/engine/formats/registry.ts';

describe('names of programs', () => {
  it('are known by their extension, in any case, and as Windows reads a name', () => {
    for (const name of [
      'a.exe',
      'bin/B.DLL',
      'x.SyS',
      'setup.msi',
      'lib.pyd',
      'Windows.UI.winmd',
      'shell32.dll.mun',
      'a.exe.',
      'a.exe . ',
    ])
      assert.ok(mayBeProgram(name), name);
    for (const name of ['exe', 'readme.txt', 'a.exe.config', 'a.exe/readme', 'dir.exe/', '.bashrc', ''])
      assert.ok(!mayBeProgram(name), name);
  });

  it('are those of zips if they end in .zip, or as packages that are zips do', () => {
    for (const name of [
      'a.zip',
      'A.ZIP',
      'nightly/a.Zip',
      'a.zip.',
      'a.exe.zip',
      'a.jar',
      'b.NUPKG',
      'c.msix',
    ])
      assert.ok(mayBeZip(name), name);
    for (const name of ['zip', 'a.zip.exe', 'a.zipx', 'a.zip/b']) assert.ok(!mayBeZip(name), name);
  });

  it('have patterns that match them', () => {
    assert.deepEqual(patternsMatching('nightly/driver.sys'), ['nightly/driver.sys', '**/*.sys']);
    assert.deepEqual(patternsMatching('driver'), ['driver']);
  });

  it('are all in the configuration that `init` writes, but for scripts; two are the default', async () => {
    assert.deepEqual(DEFAULT_FILES, ['**/*.exe', '**/*.dll']);
    const text = await readFile(new URL('../../../keys.example/signer.yaml', import.meta.url), 'utf8');
    const { signing } = parse(text) as { signing: { files: string[] } };
    assert.deepEqual(
      signing.files.filter((pattern) => !pattern.startsWith('!')),
      FORMATS.filter(({ byName }) => !byName)
        .flatMap(({ extensions }) => extensions)
        .map((extension) => `**/*.${extension}`),
    );
  });
});
