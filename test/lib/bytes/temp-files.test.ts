import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import {
  asTemporary,
  keepTemporary,
  noteTemporary,
  removeTemporaries,
  removeTemporary,
} from '../../../src/lib/bytes/temp-files.ts';

describe('temporary files', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-temporaries-'));
  });
  after(() => rm(folder, { recursive: true }));
  const there = (): Promise<string[]> => readdir(folder);

  it('are removed after use, successful or not', async () => {
    const path = join(folder, 'a');
    assert.equal(await asTemporary(path, () => writeFile(path, 'a').then(() => 1)), 1);
    assert.deepEqual(await there(), []);
    const failing = asTemporary(path, async () => {
      await mkdir(path);
      await writeFile(join(path, 'b'), 'b');
      throw new Error('no');
    });
    await assert.rejects(failing, /^Error: no$/);
    assert.deepEqual(await there(), []);
  });

  it('stay if they are kept under another name', async () => {
    const [path, name] = [join(folder, 'a'), join(folder, 'name')];
    await asTemporary(path, async () => {
      await writeFile(path, 'a');
      await rename(path, name);
    });
    assert.deepEqual(await there(), ['name']);
    await rm(name);
  });

  it('stay if they are kept, whatever removes them later', async () => {
    const path = join(folder, 'kept');
    noteTemporary(path);
    await writeFile(path, 'a');
    keepTemporary(path);
    await removeTemporary(path);
    assert.deepEqual(await there(), ['kept']);
    await rm(path);
  });

  it('are removed when the process ends, and nothing else is', async () => {
    const [path, other] = [join(folder, 'a'), join(folder, 'other')];
    await writeFile(other, 'b');
    await asTemporary(path, async () => {
      await writeFile(path, 'a');
      removeTemporaries();
      assert.deepEqual(await there(), ['other']);
    });
    removeTemporaries();
    assert.deepEqual(await there(), ['other']);
  });
});
