import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { prepareUploads, sayPacked } from '../../../src/app/builder/prepare-uploads.ts';
import { buildPe } from '../../fixtures/pe.ts';

let folder: string;
const at = (...names: string[]): string => join(folder, ...names);

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-uploads-'));
  for (const name of ['scratch', 'loose', 'folder.zip']) await mkdir(at(name));
  await writeFile(at('app.exe'), buildPe());
  await writeFile(at('notes.txt'), 'notes');
  for (const name of ['loose', 'folder.zip']) await writeFile(at(name, 'app.exe'), buildPe());
  execFileSync('zip', ['-q', 'good.zip', 'app.exe'], { cwd: folder });
});
after(() => rm(folder, { recursive: true, force: true }));

async function said(...names: string[]): Promise<string[]> {
  const lines: string[] = [];
  const collected = await prepareUploads(
    names.map((name) => at(name)),
    at('scratch'),
  );
  sayPacked({ say: (line) => lines.push(line) }, collected);
  return lines;
}

describe('prepareUploads', () => {
  it('says that files were packed, how many, and the name of the zip', async () => {
    assert.match((await said('loose')).join(), /^packed 1 file into loose\.zip \(\d+ bytes\)/);
    assert.match((await said('app.exe', 'notes.txt')).join(), /^packed 2 files into app\.zip /);
    assert.match((await said('notes.txt')).join(), /^packed 1 file into notes\.zip /);
    assert.match((await said('app.exe', 'good.zip')).join(), /^packed 2 files into app\.zip /);
  });

  it('says nothing about files that are uploaded as they are', async () => {
    for (const name of ['app.exe', 'good.zip']) assert.deepEqual(await said(name), []);
  });

  it('treats a folder whose name ends in .zip as a folder', async () => {
    assert.match((await said('folder.zip')).join(), /^packed 1 file into folder\.zip\.zip /);
  });

  it('submit-empty: an empty folder', async () => {
    await mkdir(at('nothing'));
    await assert.rejects(said('nothing'), { code: 'submit-empty', kind: 'usage' });
  });

  for (const [what, name, content] of [
    ['an empty file', 'empty.zip', ''],
    ['a page that a server sent instead', 'page.zip', '<!doctype html><title>404</title>'],
    ['a program', 'PROGRAM.ZIP', buildPe()],
  ] as const)
    it(`submit-not-a-zip: ${what}, alone or among others`, async () => {
      await writeFile(at(name), content);
      for (const names of [[name], ['app.exe', name], [name, 'good.zip']])
        await assert.rejects(said(...names), { code: 'submit-not-a-zip', kind: 'usage' });
    });

  it('treats a zip behind a program as a zip, as unpackers do: the signer refuses it (zip-is-program)', async () => {
    await writeFile(at('both.zip'), Buffer.concat([buildPe(), await readFile(at('good.zip'))]));
    execFileSync('zip', ['-q', '-A', 'both.zip'], { cwd: folder });
    execFileSync('unzip', ['-tqq', 'both.zip'], { cwd: folder });
    assert.deepEqual(await said('both.zip'), []);
  });

  it('refuses a truncated zip before the upload', async () => {
    const whole = await readFile(at('good.zip'));
    for (const length of [10, whole.length / 2, whole.length - 1]) {
      await writeFile(at('half.zip'), whole.subarray(0, length));
      await assert.rejects(said('half.zip'), { kind: 'invalid' });
    }
  });
});
