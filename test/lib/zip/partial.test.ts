import assert from 'node:assert/strict';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { compareZips } from '../../../src/lib/zip/compare-zips.ts';
import { readArchive, readPartially, type PartialArchive } from '../../../src/lib/zip/read-zip.ts';
import { planRewrite, rewriteZip, type NewContent } from '../../../src/lib/zip/rewrite-zip.ts';
import type { ByteRange } from '../../../src/lib/bytes/byte-range.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { writeStreamAtomically } from '../../../src/lib/bytes/atomic-file.ts';
import { readTransientChunks } from '../../../src/lib/bytes/read-chunks.ts';
import { BufferSource, withFile, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { MAKERS, makeTree, PROGRAM } from './zip-programs.ts';
import {
  contentOf,
  extra,
  forge,
  type Forged,
  LIMITS,
  readZipFile,
  sample,
  temporaryFolder,
  virtualEntry,
} from './zips.ts';

const folder = await temporaryFolder();

/** Longer than a deflate block, so that blocks have to join. */
const NEW = sample(1_300_000, 99);

/** A zip in memory that remembers which of its bytes were read. */
class Watched implements ByteSource {
  readonly name = 'test.zip';
  readonly size: number;
  readonly seen: ByteRange[] = [];

  constructor(private readonly bytes: Buffer) {
    this.size = bytes.length;
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async read(offset: number, length: number): Promise<Buffer> {
    assert.ok(offset >= 0 && offset + length <= this.size);
    this.seen.push({ start: offset, end: offset + length });
    return this.bytes.subarray(offset, offset + length);
  }

  sees(at: number): boolean {
    return this.seen.some(({ start, end }) => at >= start && at < end);
  }
}

const only =
  (...paths: string[]) =>
  ({ path }: { path: string }): boolean =>
    paths.includes(path);

const partially = (bytes: Buffer, ...paths: string[]): Promise<PartialArchive> =>
  readPartially(new BufferSource(bytes, 'test.zip'), LIMITS, { wanted: only(...paths) });

async function contentHere(archive: PartialArchive, path: string): Promise<Buffer> {
  const entry = archive.located.find((each) => each.path === path);
  assert.ok(entry);
  const parts: Buffer[] = [];
  for await (const chunk of await archive.open(entry)) parts.push(chunk);
  return Buffer.concat(parts);
}

const nothing = (): Promise<void> => Promise.resolve();

/** The zip that a plan describes, put together from the old zip and the new bytes. */
async function applied(original: string, replacements: ReadonlyMap<string, NewContent>): Promise<Buffer> {
  const bytes = await readFile(original);
  const archive = await partially(bytes, ...replacements.keys());
  const fresh = join(folder, 'fresh');
  const output = join(folder, 'applied.zip');
  const { delta } = await planRewrite(archive, replacements, { path: fresh }, nothing);
  await withFile(original, (source) =>
    withFile(fresh, (made) =>
      writeStreamAtomically(output, readTransientChunks(new PatchedSource(source, delta, made))),
    ),
  );
  const result = await readFile(output);
  assert.equal(delta.size, result.length);
  return result;
}

describe('a zip of which only some entries are read', () => {
  let tree = '';
  before(async () => {
    tree = await makeTree(folder);
  });

  for (const [maker, make] of Object.entries(MAKERS))
    it(`made by ${maker}: has the same result as reading it whole`, async () => {
      const work = join(folder, maker.replaceAll(/\W+/g, '-'));
      await mkdir(work);
      const original = join(work, 'original.zip');
      await make(tree, original);
      const replacements = new Map([[PROGRAM, { source: new BufferSource(NEW, PROGRAM) }]]);
      const bytes = await readFile(original);
      assert.deepEqual(
        await contentHere(await partially(bytes, PROGRAM), PROGRAM),
        await readFile(join(tree, PROGRAM)),
      );
      await rewriteZip(await readZipFile(original), replacements, join(work, 'whole.zip'));
      const made = await applied(original, replacements);
      assert.ok(made.equals(await readFile(join(work, 'whole.zip'))));
      await rm(work, { recursive: true });
    });

  it('writes only new bytes: the program, the directory and the end records', async () => {
    const original = join(folder, 'big-neighbour.zip');
    const bytes = forge([
      { name: 'a.bin', content: sample(2_000_000, 5) },
      { name: 'b.exe', content: sample(1000, 1) },
      { name: 'c.bin', content: sample(2_000_000, 6) },
    ]);
    const archive = await partially(bytes, 'b.exe');
    const replacements = new Map([['b.exe', { source: new BufferSource(sample(3000, 2), 'b.exe') }]]);
    const { delta } = await planRewrite(archive, replacements, { path: original }, nothing);
    assert.deepEqual(
      delta.spans.map(({ from }) => from),
      ['source', 'fresh', 'source', 'fresh'],
    );
    assert.ok((await stat(original)).size < 4000);
  });

  it('reads the directory and the wanted entries, and no byte of any other', async () => {
    const source = new Watched(
      forge([
        { name: 'a.bin', content: sample(400_000, 1), method: 0 },
        { name: 'ours.exe', content: sample(400_000, 2), method: 0 },
        { name: 'folder/', method: 0 },
        { name: 'z.bin', content: sample(400_000, 3), method: 0 },
      ]),
    );
    const prepared: ByteRange[] = [];
    const archive = await readPartially(source, LIMITS, {
      wanted: ({ path }) => path !== 'a.bin' && path !== 'z.bin',
      prepare: async (entries, turns) => {
        assert.deepEqual(
          entries.map(({ path }) => path),
          ['ours.exe'],
        );
        prepared.push(...turns.flat());
        await Promise.resolve();
      },
    });
    const before = source.seen.length;
    assert.deepEqual(await contentHere(archive, 'ours.exe'), sample(400_000, 2));
    const [ours] = prepared;
    assert.ok(ours && prepared.length === 1);
    assert.equal(ours.start, archive.layout[1]?.offset);
    for (const { start, end } of source.seen.slice(before))
      assert.ok(start >= ours.start && end <= ours.end, 'what was prepared holds all that is read later');
    assert.ok(source.sees(ours.start) && !source.sees(ours.start - 1));
    assert.ok(!source.sees(100) && !source.sees((archive.layout[3]?.offset ?? 0) + 10));
    assert.equal(archive.entries.length, 4);
  });

  it('can locate all entries before the data of the large ones has arrived', async () => {
    const large = sample(2_500_000, 4);
    const source = new Watched(
      forge([
        { name: 'large.exe', content: large, method: 0, flags: 8 },
        { name: 'other.bin', content: sample(50_000, 5), method: 0 },
        { name: 'small.exe', content: sample(3_000, 6), method: 0 },
      ]),
    );
    const prepared: (readonly ByteRange[])[] = [];
    const archive = await readPartially(source, LIMITS, {
      wanted: ({ path }) => path.endsWith('.exe'),
      prepare: async (_entries, turns) => {
        prepared.push(...turns);
        source.seen.length = 0;
        await Promise.resolve();
      },
    });
    const [first = [], then = [], ...others] = prepared;
    assert.equal(others.length, 0);
    const holds = (ranges: readonly ByteRange[], seen: ByteRange): boolean =>
      ranges.some(({ start, end }) => seen.start >= start && seen.end <= end);
    assert.ok(source.seen.length > 2);
    for (const seen of source.seen) assert.ok(holds(first, seen), `${seen.start} to ${seen.end}`);
    assert.ok(first.reduce((sum, { start, end }) => sum + end - start, 0) < 10_000);
    const [entry, ...more] = archive.located;
    assert.ok(entry && more.length === 1);
    assert.deepEqual(
      then.map((range) => holds([range], { start: entry.dataStart, end: entry.dataEnd })),
      [true],
    );
    assert.ok(
      first.every(({ start }, index) => start >= (first[index - 1]?.end ?? 0)),
      'in rising order, apart',
    );
    assert.deepEqual(await contentHere(archive, 'large.exe'), large);
  });

  it('does not see a false local header of a neighbour, which reading the whole zip finds', async () => {
    const lie = (header: Buffer): void => void header.writeUInt16LE(9, 8);
    const bytes = forge([
      { name: 'a.exe', content: 'ours' },
      { name: 'b.bin', content: 'theirs', local: lie, central: (header) => header.writeUInt16LE(8, 10) },
    ]);
    const { located } = await partially(bytes, 'a.exe');
    assert.equal(located.length, 1);
    await assert.rejects(readArchive(new BufferSource(bytes, 'test.zip'), LIMITS), {
      code: 'zip-headers-disagree',
    });
    await assert.rejects(partially(bytes, 'a.exe', 'b.bin'), { code: 'zip-headers-disagree' });
  });

  it('stops if `prepare` throws, before an entry is read', async () => {
    const source = new Watched(forge([{ name: 'a.exe', content: sample(100_000), method: 0 }]));
    const refusing = readPartially(source, LIMITS, {
      wanted: only('a.exe'),
      prepare: () => Promise.reject(new Error('not this one')),
    });
    await assert.rejects(refusing, /not this one/);
    assert.ok(!source.sees(10));
  });
});

const OURS: Forged = { name: 'a.exe', content: sample(4000, 1) };
const THEIRS: Forged = { name: 'b.bin', content: sample(4000, 2) };
const REFUSED: readonly [string, string, () => Buffer][] = [
  [
    'zip-entries-overlap',
    'the directory puts one neighbour into the other',
    () => forge([OURS, THEIRS, { name: 'c', central: (h) => h.writeUInt32LE(h.readUInt32LE(42) - 1, 42) }]),
  ],
  [
    'zip-entries-overlap',
    'a neighbour is larger than its room',
    () => forge([OURS, { ...THEIRS, central: (h) => h.writeUInt32LE(5_000_000, 20) }]),
  ],
  [
    'zip-entry-unlisted',
    'an entry hides behind ours',
    () => forge([OURS, { ...THEIRS, gap: forge([{ name: 'hidden.exe', content: 'x' }]).subarray(0, 60) }]),
  ],
  ['zip-gap', 'bytes lie behind ours', () => forge([OURS, { ...THEIRS, gap: Buffer.from('x') }])],
  ['zip-prefix', 'something before the first entry', () => forge([{ ...OURS, gap: Buffer.from('MZ') }])],
  ['zip-entry-duplicate', 'two of one name', () => forge([OURS, { ...THEIRS, name: 'A.EXE' }])],
  ['zip-entry-path-unsafe', 'a neighbour that climbs', () => forge([OURS, { ...THEIRS, name: '../b' }])],
  ['zip-entry-encrypted', 'an encrypted neighbour', () => forge([OURS, { ...THEIRS, flags: 0x801 }])],
  [
    'zip-headers-disagree',
    'ours has another name inside',
    () => {
      const bytes = forge([OURS, THEIRS]);
      bytes.write('x', 30);
      return bytes;
    },
  ],
];

describe('what is refused though only some entries are read', () => {
  for (const [code, what, make] of REFUSED)
    it(`${code}: ${what}`, async () => {
      await assert.rejects(partially(make(), 'a.exe'), { code, kind: 'invalid' });
    });

  it('zip-entry-damaged: a wanted entry whose CRC-32 is wrong', async () => {
    const wrong = (header: Buffer): void => void header.writeUInt32LE(7, 14);
    const central = (header: Buffer): void => void header.writeUInt32LE(7, 16);
    const archive = await partially(forge([{ ...OURS, local: wrong, central }, THEIRS]), 'a.exe');
    await assert.rejects(contentHere(archive, 'a.exe'), { code: 'zip-entry-damaged' });
  });

  it('zip-entry-missing: a replacement for an entry that was not read', async () => {
    const archive = await partially(forge([OURS, THEIRS]), 'a.exe');
    const wrong = async (): Promise<unknown> =>
      planRewrite(
        archive,
        new Map([['b.bin', { source: new BufferSource(NEW, 'b') }]]),
        { path: join(folder, 'never') },
        nothing,
      );
    await assert.rejects(wrong, { code: 'zip-entry-missing' });
  });
});

describe('a planned rewrite of a forged zip', () => {
  it('keeps gaps, extra fields, descriptors and comments of all kinds', async () => {
    const entries: Forged[] = [
      {
        name: 'a.exe',
        content: sample(4000, 1),
        comment: 'first',
        localExtra: extra(0xcafe, NEW.subarray(0, 9)),
      },
      { name: 'stored.exe', content: sample(4000, 2), method: 0, gap: virtualEntry(7) },
      { name: 'streamed.exe', content: sample(4000, 3), flags: 0x808, gap: Buffer.alloc(4) },
      {
        name: 'long.exe',
        content: sample(4000, 4),
        localExtra: extra(0xcafe, sample(5000)),
        centralExtra: Buffer.alloc(0),
      },
      { name: 'other.bin', content: 'x', method: 12 },
    ];
    const original = join(folder, 'forged.zip');
    await writeFile(original, forge(entries, { comment: 'the end', beforeDirectory: virtualEntry(0) }));
    const replacements = new Map(
      ['a.exe', 'stored.exe', 'streamed.exe', 'long.exe'].map((path, at): [string, NewContent] => [
        path,
        { source: new BufferSource(NEW.subarray(at * 1000, 600_000), path) },
      ]),
    );
    const whole = await readZipFile(original);
    await rewriteZip(whole, replacements, join(folder, 'whole.zip'));
    const made = await applied(original, replacements);
    assert.ok(made.equals(await readFile(join(folder, 'whole.zip'))));
    const signed = await readZipFile(join(folder, 'whole.zip'));
    assert.equal((await compareZips(whole, signed)).length, 4);
    assert.deepEqual(await contentOf(signed, 'long.exe'), NEW.subarray(3000, 600_000));
  });
});
