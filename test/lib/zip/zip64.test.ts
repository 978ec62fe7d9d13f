import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { crc32, deflateRawSync } from 'node:zlib';
import {
  updatedCentralHeader,
  updatedDescriptor,
  updatedLocalHeader,
} from '../../../src/lib/zip/updated-headers.ts';
import { endBytes, movedEnd } from '../../../src/lib/zip/end-of-central-directory.ts';
import { readArchive } from '../../../src/lib/zip/read-zip.ts';
import { withFile } from '../../../src/lib/bytes/byte-source.ts';
import { contentOf, descriptor, entryOf, forge, LIMITS, read, run, temporaryFolder, uint64 } from './zips.ts';

const folder = await temporaryFolder();

/** One entry of this size, of zeros that take no space on the disk. */
const HOLE = 2 ** 32 + 12_345;
/** The CRC-32 of that many zeros is not needed, since they are not read. */
const HOLE_CRC = 0x12345678;
const LIMITS64 = { ...LIMITS, entry: 2 ** 34, archive: 2 ** 34 };

/**
 * What a rewrite writes when an entry grows beyond 4 GiB, from the functions that write it, laid into a
 * sparse file: writing it whole would take minutes.
 */
async function grown(flags: number): Promise<string> {
  const archive = await read(
    forge([
      { name: 'hole.bin', content: 'x', method: 0, flags },
      { name: 'z.txt', content: 'behind the hole' },
    ]),
  );
  const hole = entryOf(archive, 'hole.bin');
  const z = entryOf(archive, 'z.txt');
  const values = { crc32: HOLE_CRC, size: HOLE, compressedSize: HOLE };
  const local = updatedLocalHeader(hole, values);
  const tail = updatedDescriptor(hole, values);
  const offset = local.length + HOLE + tail.length;
  const zBytes = await archive.source.read(z.offset, z.end - z.offset);
  const directory = Buffer.concat([
    updatedCentralHeader(hole, { ...values, offset: 0 }),
    updatedCentralHeader(z, { ...z, offset }),
  ]);
  const end = endBytes(movedEnd(archive.end, offset + zBytes.length, directory.length));
  const path = join(folder, `grown-${flags}.zip`);
  const file = await open(path, 'w');
  await file.write(local, 0, local.length, 0);
  const rest = Buffer.concat([tail, zBytes, directory, end]);
  await file.write(rest, 0, rest.length, local.length + HOLE);
  await file.close();
  return path;
}

describe('beyond 4 GiB', () => {
  for (const [what, flags] of [
    ['sizes in the local header', 0x800],
    ['sizes in a data descriptor', 0x808],
  ] as const)
    it(`an entry that grows gets 64-bit sizes and offsets, ${what}`, async () => {
      const path = await grown(flags);
      await withFile(path, async (source) => {
        const archive = await readArchive(source, LIMITS64);
        assert.equal(entryOf(archive, 'hole.bin').size, HOLE);
        assert.ok(entryOf(archive, 'z.txt').offset > HOLE);
        assert.equal(String(await contentOf(archive, 'z.txt')), 'behind the hole');
      });
      const script =
        'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); print(z.getinfo("hole.bin").file_size, z.read("z.txt"))';
      assert.equal((await run('python3', ['-c', script, path])).stdout, `${HOLE} b'behind the hole'\n`);
      assert.match((await run('7z', ['l', path])).stdout, new RegExp(`${HOLE} +${HOLE} +hole.bin`));
      assert.match((await run('unzip', ['-p', path, 'z.txt'])).stdout, /^behind the hole$/);
    });

  it('a value that fits goes where it was, with no zip64 record made', async () => {
    const archive = await read(forge([{ name: 'a', content: 'x' }]));
    const end = movedEnd(archive.end, 0xfffffffe, 100);
    assert.equal(end.zip64, null);
    assert.equal(end.end.readUInt32LE(16), 0xfffffffe);
    assert.notEqual(movedEnd(archive.end, 0xffffffff, 100).zip64, null);
  });

  it('a header written with its own values stays the same', async () => {
    const content = Buffer.from('content');
    const data = deflateRawSync(content);
    for (const flags of [0x800, 0x808]) {
      const tail = descriptor(crc32(content), data.length, content.length);
      const archive = await read(forge([{ name: 'a', content, flags, descriptor: tail, comment: 'c' }]));
      const a = entryOf(archive, 'a');
      assert.deepEqual(updatedLocalHeader(a, a), a.local);
      assert.deepEqual(updatedCentralHeader(a, a), a.central);
      assert.deepEqual(updatedDescriptor(a, a), flags & 8 ? tail : Buffer.alloc(0));
      assert.deepEqual(
        endBytes(movedEnd(archive.end, archive.end.directoryOffset, archive.end.directorySize)),
        archive.end.end,
      );
    }
  });

  it('zip-headers-disagree: sizes that no file can have', async () => {
    const field = Buffer.concat([Buffer.from([1, 0, 8, 0]), uint64(0)]);
    field.fill(0xff, 4);
    const bytes = forge([
      { name: 'a', content: 'x', centralExtra: field, central: (h) => void h.fill(0xff, 24, 28) },
    ]);
    await assert.rejects(read(bytes), { code: 'zip-headers-disagree' });
  });
});
