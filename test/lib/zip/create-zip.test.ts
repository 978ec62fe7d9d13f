import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { filesOfFolder, createZip } from '../../../src/lib/zip/create-zip.ts';
import { contentOf, readZipFile, run, sample, temporaryFolder } from './zips.ts';

const folder = await temporaryFolder();

async function makeTree(): Promise<string> {
  const tree = join(folder, 'tree');
  await mkdir(join(tree, 'bin/empty'), { recursive: true });
  await writeFile(join(tree, 'bin/größe.exe'), sample(100_000));
  await writeFile(join(tree, 'bin/a.dll'), sample(10_000));
  await writeFile(join(tree, 'B.txt'), 'b');
  await writeFile(join(tree, 'a.txt'), '');
  await chmod(join(tree, 'bin/a.dll'), 0o755);
  await utimes(join(tree, 'bin/a.dll'), 1_000_000_002, 1_000_000_002);
  return tree;
}

const refused = async (code: string, names: string[]): Promise<void> => {
  const path = join(folder, 'some');
  await writeFile(path, 'some');
  const files = names.map((name) => ({ path, name }));
  await assert.rejects(createZip(files, join(folder, 'refused.zip')), { kind: 'usage', code });
  assert.ok(!(await readdir(folder)).some((name) => name.includes('refused')));
};

describe('packing', () => {
  it('a folder gives a sound zip, sorted, with times, permissions and empty folders', async () => {
    const tree = await makeTree();
    const output = join(folder, 'packed.zip');
    await createZip(await filesOfFolder(tree), output);
    const archive = await readZipFile(output);
    assert.deepEqual(
      archive.entries.map(({ path }) => path),
      ['B.txt', 'a.txt', 'bin/a.dll', 'bin/empty/', 'bin/größe.exe'],
    );
    assert.deepEqual(await contentOf(archive, 'bin/größe.exe'), sample(100_000));
    assert.match((await run('unzip', ['-tq', output])).stdout, /No errors/);
    assert.match((await run('7z', ['t', output])).stdout, /Everything is Ok/);
    await run('unzip', ['-q', output, '-d', join(folder, 'unpacked')]);
    const unpacked = await stat(join(folder, 'unpacked/bin/a.dll'));
    assert.equal(unpacked.mode & 0o777, 0o755);
    assert.equal(unpacked.mtimeMs, 1_000_000_002_000);
  });

  it('the same files produce the same bytes, in any order', async () => {
    const files = [0, 1, 2].map((n) => ({ path: join(folder, `f${n}`), name: `x/${n}.bin` }));
    for (const { path } of files) await writeFile(path, sample(70_000, 5));
    const outputs = [join(folder, '1.zip'), join(folder, '2.zip')];
    await createZip(files, outputs[0] ?? '');
    await createZip(files.toReversed(), outputs[1] ?? '');
    const [one, two] = await Promise.all(outputs.map((output) => readFile(output)));
    assert.deepEqual(one, two);
  });

  it('pack-name-unsafe', async () => {
    for (const name of ['../a', '/a', 'C:/a', 'a\\b', 'a\nb', '']) await refused('pack-name-unsafe', [name]);
  });

  it('pack-name-duplicate', async () => {
    await refused('pack-name-duplicate', ['a.exe', 'a.exe']);
    await refused('pack-name-duplicate', ['a.exe', 'A.EXE']);
  });

  it('file-not-found and not-a-file', async () => {
    const pack = (path: string): Promise<void> =>
      createZip([{ path, name: 'a' }], join(folder, 'refused.zip'));
    await assert.rejects(pack(join(folder, 'missing')), { code: 'file-not-found' });
    await assert.rejects(pack(folder), { code: 'not-a-file' });
  });

  it('not-a-file: a symbolic link in a folder', async () => {
    const tree = join(folder, 'links');
    await mkdir(tree);
    await symlink('/etc/passwd', join(tree, 'passwd'));
    await assert.rejects(filesOfFolder(tree), { code: 'not-a-file' });
  });
});
