import assert from 'node:assert/strict';
import { mkdtemp, open, readFile, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { readFully, writeFully } from '../../../src/lib/bytes/read-write-fully.ts';
import { firstIndex } from '../../../src/lib/bytes/binary-search.ts';

/** A file whose reads and writes transfer at most three bytes at a time. */
function slow(file: FileHandle): FileHandle {
  const short = (length: number): number => Math.min(3, length);
  const partly = {
    read: (target: Buffer, at: number, length: number, from: number) =>
      file.read(target, at, short(length), from),
    write: (bytes: Buffer, at: number, length: number, to: number) =>
      file.write(bytes, at, short(length), to),
  };
  return partly as unknown as FileHandle;
}

describe('reading and writing exactly', () => {
  let folder: string;
  let file: FileHandle;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-exact-'));
    file = await open(join(folder, 'file'), 'w+');
  });
  after(async () => {
    await file.close();
    await rm(folder, { recursive: true });
  });

  it('continues until all bytes are transferred', async () => {
    await writeFully(slow(file), Buffer.from('0123456789'), 0);
    await writeFully(slow(file), Buffer.from('abcd'), 4);
    assert.equal(await readFile(join(folder, 'file'), 'utf8'), '0123abcd89');
    const target = Buffer.alloc(7);
    assert.equal(await readFully(slow(file), target, 2), true);
    assert.equal(target.toString(), '23abcd8');
  });

  it('reports a file that ends early, and does nothing for no bytes', async () => {
    assert.equal(await readFully(slow(file), Buffer.alloc(7), 4), false);
    assert.equal(await readFully(file, Buffer.alloc(0), 100), true);
    await writeFully(file, Buffer.alloc(0), 100);
    assert.equal((await readFile(join(folder, 'file'))).length, 10);
  });
});

describe('binary search', () => {
  it('finds the first index that fits, or the length if none does', () => {
    for (let length = 0; length < 20; length += 1)
      for (let first = 0; first <= length; first += 1)
        assert.equal(
          firstIndex(length, (index) => index >= first),
          first,
        );
  });
});
