import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { readChunks, readTransientChunks } from '../../../src/lib/bytes/read-chunks.ts';
import { BufferSource, FileSource, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';

const content = createHash('sha256').update('seed').digest();
const large = Buffer.concat(
  Array.from({ length: 90_000 }, (_, at) => Buffer.concat([content, Buffer.from([at & 255, at >> 8])])),
);

async function collected(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of chunks) parts.push(Buffer.from(chunk));
  return Buffer.concat(parts);
}

describe('reading a source in chunks', () => {
  let folder: string;
  let file: FileSource;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-scan-'));
    await writeFile(join(folder, 'large'), large);
    file = await FileSource.open(join(folder, 'large'));
  });
  after(async () => {
    await file.close();
    await rm(folder, { recursive: true });
  });

  const sources = (): [string, ByteSource][] => [
    ['a buffer', new BufferSource(large, 'buffer')],
    ['a file', file],
  ];

  it('yields every byte once and in order, of a source or of a range', async () => {
    for (const [what, source] of sources())
      for (const [start, end] of [
        [0, large.length],
        [1, large.length - 1],
        [1 << 20, 2 << 20],
        [5, 5],
        [7, 8],
      ] as const)
        assert.ok(
          (await collected(readTransientChunks(source, start, end))).equals(large.subarray(start, end)),
          `${what} ${start} ${end}`,
        );
  });

  it('uses the same memory again for any length', async () => {
    const used = new Set<ArrayBufferLike>();
    for await (const chunk of readTransientChunks(file)) used.add(chunk.buffer);
    assert.equal(used.size, 2);
  });

  it('fails if reading fails', async () => {
    await assert.rejects(collected(readTransientChunks(file, 0, large.length + 1)), {
      code: 'source-out-of-range',
    });
  });

  it('may be stopped early', async () => {
    for await (const chunk of readTransientChunks(file)) {
      assert.ok(chunk.equals(large.subarray(0, chunk.length)));
      break;
    }
  });

  it('reads a patched file correctly at every boundary', async () => {
    for (const [what, source] of sources()) {
      const made = PatchedSource.of(source, [
        { start: 0, end: 10 },
        Buffer.from('new'),
        { start: 12, end: 1 << 20 },
        Buffer.from('end'),
      ]);
      const expected = Buffer.concat([
        large.subarray(0, 10),
        Buffer.from('new'),
        large.subarray(12, 1 << 20),
        Buffer.from('end'),
      ]);
      assert.ok((await collected(readChunks(made))).equals(expected), what);
      assert.ok((await collected(readTransientChunks(made))).equals(expected), what);
      for (const [offset, length] of [
        [9, 1],
        [9, 2],
        [10, 3],
        [11, 1],
        [12, 5],
        [(1 << 20) - 3, 6],
        [0, expected.length],
      ] as const) {
        assert.ok(
          (await made.read(offset, length)).equals(expected.subarray(offset, offset + length)),
          `${what} ${offset}`,
        );
        const target = Buffer.alloc(length);
        await made.readInto(target, offset);
        assert.ok(target.equals(expected.subarray(offset, offset + length)), `${what} into ${offset}`);
      }
      await assert.rejects(made.read(expected.length, 1), RangeError);
      await assert.rejects(made.read(-1, 1), RangeError);
    }
  });
});
