import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { DEFAULT_LIMITS } from '../../../src/lib/zip/limits.ts';
import { readArchive } from '../../../src/lib/zip/read-zip.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { contentOf, entryOf, forge, read, sample, type Forged } from './zips.ts';

const HEAD = 4096;

/** Content of one repeated byte, which deflate shrinks a thousandfold; only a little of it is read. */
const zeros = Buffer.alloc(900_000);

const SIZES = [0, 1, 4095, 4096, 4097, 65_535, 65_536, 65_537, 300_000];

describe('the head of an entry', () => {
  for (const method of [0, 8])
    for (const size of SIZES)
      it(`is where its content begins: ${size} bytes, method ${method}`, async () => {
        const neighbour = { name: 'neighbour', content: sample(10_000, 9) };
        const archive = await read(
          forge(
            [neighbour, { name: 'a', content: sample(size), method }, neighbour].map((each, n) => ({
              ...each,
              name: `${each.name}${n}`,
            })),
          ),
        );
        const head = await archive.head(entryOf(archive, 'a1'), HEAD);
        assert.deepEqual(head, (await contentOf(archive, 'a1')).subarray(0, HEAD));
      });

  it('can be read from well compressed and from unusually compressed entries', async () => {
    const content = sample(200_000);
    const stored = deflateRawSync(content, { level: 0 });
    const flushed = deflateRawSync(content, { finishFlush: 2 });
    const entries: Forged[] = [
      { name: 'zeros', content: zeros },
      { name: 'stored', content, data: stored },
      { name: 'huffman', content, data: deflateRawSync(content, { strategy: 2 }) },
      {
        name: 'empty-blocks',
        content,
        data: Buffer.concat([
          ...Array<Buffer>(2000).fill(deflateRawSync(Buffer.alloc(0), { finishFlush: 2 })),
          stored,
        ]),
      },
      { name: 'flushed', content, data: Buffer.concat([flushed, Buffer.of(3, 0)]) },
      { name: 'rest', content: sample(2_000_000), method: 0 },
    ];
    const archive = await read(forge(entries));
    for (const { name, content: expected } of entries)
      assert.deepEqual(
        await archive.head(entryOf(archive, String(name)), HEAD),
        Buffer.from(expected ?? '').subarray(0, HEAD),
        String(name),
      );
  });

  it('can be read in any order, several at once', async () => {
    const names = Array.from({ length: 300 }, (_, n) => `f${n}`);
    const archive = await read(forge(names.map((name, n) => ({ name, content: sample(n * 97, n + 1) }))));
    const order = names
      .map((name, n) => ({ name, n }))
      .sort((a, b) => ((a.n * 7919) % 300) - ((b.n * 7919) % 300));
    await Promise.all(
      order.map(async ({ name, n }) => {
        assert.deepEqual(
          await archive.head(entryOf(archive, name), 100),
          sample(n * 97, n + 1).subarray(0, 100),
        );
      }),
    );
  });
});

describe('the head of an entry is refused', () => {
  const content = sample(50_000);
  const packed = deflateRawSync(content);
  const wrong = (at: number) => (header: Buffer) => header.writeUInt32LE(7, at);
  const larger = (at: number) => (header: Buffer) => header.writeUInt32LE(content.length + 1, at);
  const cases: Record<string, Record<string, Forged>> = {
    'zip-entry-damaged': {
      'its CRC-32 is wrong, far behind its head': {
        name: 'a',
        content,
        local: wrong(14),
        central: wrong(16),
      },
      'it is shorter than declared': { name: 'a', content, local: larger(22), central: larger(24) },
      'it is cut short': { name: 'a', content, data: packed.subarray(0, -3) },
      'it is no deflate stream': { name: 'a', content, data: Buffer.alloc(500, 0xff) },
      'it is stored, and its CRC-32 is wrong': {
        name: 'a',
        content: 'abc',
        method: 0,
        local: wrong(14),
        central: wrong(16),
      },
    },
    'zip-entry-slack': {
      'bytes hide behind it': { name: 'a', content, data: Buffer.concat([packed, Buffer.of(0)]) },
    },
    'zip-entry-not-a-file': { 'it is a link': { name: 'a', content: 'b', attributes: 0o120777 * 65536 } },
    'zip-method-unsupported': { 'it is packed otherwise': { name: 'a', content, method: 93 } },
  };
  for (const [code, each] of Object.entries(cases))
    for (const [what, entry] of Object.entries(each))
      it(`${code}: ${what}`, async () => {
        const archive = await read(forge([entry]));
        await assert.rejects(archive.head(entryOf(archive, 'a'), HEAD), { code });
      });
});

describe('the head of a large entry', () => {
  for (const level of [0, 1, 6, 9])
    it(`takes one small read, even if deflate could not shrink it (level ${level})`, async () => {
      const random = randomBytes(300_000);
      const bytes = forge([{ name: 'a', content: random, data: deflateRawSync(random, { level }) }]);
      const source = new BufferSource(bytes, 'a.zip');
      const archive = await readArchive(source, DEFAULT_LIMITS);
      const asked: number[] = [];
      const inner = source.read.bind(source);
      source.read = (offset, length) => {
        asked.push(length);
        return inner(offset, length);
      };
      assert.deepEqual(await archive.head(entryOf(archive, 'a'), HEAD), random.subarray(0, HEAD));
      assert.equal(asked.length, 1);
      assert.ok(asked.every((length) => length < 8192));
    });
});

describe('many heads', () => {
  it('take little time, and few reads', async () => {
    const archive = await read(
      forge(Array.from({ length: 10_000 }, (_, n) => ({ name: `${n}`, content: sample(300, n + 1) }))),
    );
    const before = process.cpuUsage();
    for (const entry of archive.layout) await archive.head(entry, HEAD);
    const { user, system } = process.cpuUsage(before);
    // With a stream for each, it takes 3 seconds or more.
    assert.ok(user + system < 1_500_000, `${(user + system) / 1000} ms`);
  });
});
