import assert from 'node:assert/strict';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openCab } from '../../../../src/engine/formats/cab/cab-file.ts';
import type { Container } from '../../../../src/engine/formats/container.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { buildCab, type CabFolderOptions } from '../../../fixtures/cab.ts';
import { filler } from '../../../fixtures/pe.ts';
import { bytesOf, inFolder, must, source } from '../../authenticode/tools.ts';

const LIMITS = DEFAULT_LIMITS;

async function open(bytes: Buffer, limits = LIMITS): Promise<Container> {
  return (await (await openCab(source(bytes, 'a.cab'))).container(limits)) ?? assert.fail('no container');
}

async function contentsOf(container: Container): Promise<Map<string, Buffer>> {
  const contents = new Map<string, Buffer>();
  for await (const { member, content } of container.read(() => true)) {
    const chunks: Buffer[] = [];
    for await (const chunk of content) chunks.push(chunk);
    contents.set(member.path, Buffer.concat(chunks));
  }
  return contents;
}

const replace = async (bytes: Buffer, contents: Record<string, Buffer>): Promise<Buffer> => {
  const sources = Object.entries(contents).map(([path, content]) => [path, source(content)] as const);
  return bytesOf(await (await open(bytes)).replace(new Map(sources)));
};

/** Text that compresses, so that blocks refer to those before them. */
const text = (length: number, seed: number): Buffer => {
  const words = filler(997, seed).toString('base64');
  return Buffer.from(words.repeat(Math.ceil(length / words.length)).slice(0, length));
};

const FILES: Record<string, Buffer> = {
  'first.txt': text(40_000, 1),
  'dir/setup.exe': Buffer.concat([text(70_000, 2), filler(20_000, 3)]),
  'dir/empty.txt': Buffer.alloc(0),
  'dir/last.bin': text(50_000, 4),
};

const folder = (compression: 'stored' | 'mszip', paths: readonly string[]): CabFolderOptions => ({
  files: paths.map((path) => ({ name: path.replace('/', '\\'), data: FILES[path] ?? Buffer.alloc(0) })),
  compression,
});

const paths = Object.keys(FILES);
const KINDS: [what: string, cab: Buffer][] = [
  ['one stored folder', buildCab({ folders: [folder('stored', paths)] })],
  ['one MSZIP folder', buildCab({ folders: [folder('mszip', paths)] })],
  [
    'two folders, without checksums',
    buildCab({
      folders: [folder('mszip', paths.slice(0, 2)), folder('stored', paths.slice(2))],
      checksums: false,
    }),
  ],
];

/** What other tools unpack: cabextract and 7z; both check what they read. */
async function unpackedByOthers(cab: Buffer, tool: 'cabextract' | '7z'): Promise<Map<string, Buffer>> {
  return inFolder(async (at) => {
    await writeFile(join(at, 'a.cab'), cab);
    const out = join(at, 'out');
    if (tool === '7z') await must('7z', 'x', '-y', `-o${out}`, join(at, 'a.cab'));
    else await must('cabextract', '-q', '-d', out, join(at, 'a.cab'));
    return new Map(
      await Promise.all(paths.map(async (path) => [path, await readFile(join(out, path))] as const)),
    );
  });
}

describe('the files in a cabinet', () => {
  for (const [what, cab] of KINDS) {
    it(`are read: ${what}`, async () => {
      const container = await open(cab);
      assert.deepEqual(
        container.members.map(({ path, size, fixed }) => [path, size, fixed]),
        paths.map((path) => [path, FILES[path]?.length, undefined]),
      );
      assert.deepEqual(await contentsOf(container), new Map(Object.entries(FILES)));
    });

    it(`are replaced, and unpacked by cabextract and 7z: ${what}`, async () => {
      const changed = { 'dir/setup.exe': filler(100_000, 9), 'dir/empty.txt': text(5, 6) };
      const rebuilt = await replace(cab, changed);
      const expected = new Map(Object.entries({ ...FILES, ...changed }));
      assert.deepEqual(await contentsOf(await open(rebuilt)), expected);
      assert.deepEqual(await unpackedByOthers(rebuilt, 'cabextract'), expected);
      assert.deepEqual(await unpackedByOthers(rebuilt, '7z'), expected);
      assert.deepEqual(await replace(cab, changed), rebuilt, 'the same again');
      assert.deepEqual(
        await contentsOf(await open(await replace(rebuilt, FILES))),
        new Map(Object.entries(FILES)),
      );
    });
  }

  it('keep the order, times and attributes; folders without new content and blocks before it are copied', async () => {
    const [, , [, cab] = assert.fail()] = KINDS;
    const rebuilt = await replace(cab, { 'dir/last.bin': filler(10, 1) });
    const [before, after] = [await openCab(source(cab)), await openCab(source(rebuilt))].map(
      ({ cabinet }) => cabinet,
    );
    const mszip = (bytes: Buffer, cabinet = before): Buffer =>
      bytes.subarray(cabinet?.folders[0]?.dataAt, cabinet?.folders[1]?.dataAt);
    assert.deepEqual(mszip(rebuilt, after), mszip(cab));
    const entry = (bytes: Buffer, at = 0): Buffer => bytes.subarray(at + 8, at + 16);
    for (const [index, member] of before?.members.entries() ?? [])
      assert.deepEqual(entry(rebuilt, after?.members[index]?.entryAt), entry(cab, member.entryAt));
    const [, [, single] = assert.fail()] = KINDS;
    const tail = await replace(single, { 'dir/last.bin': filler(10, 1) });
    const start = (await openCab(source(single))).cabinet.folders[0]?.dataAt ?? 0;
    // The last file begins at 130,000: three blocks of 32 KiB are before it.
    let end = start;
    for (let block = 0; block < 3; block++) end += 8 + single.readUInt16LE(end + 4);
    assert.deepEqual(tail.subarray(start, end), single.subarray(start, end));
  });

  it('are read from a cabinet that gcab made, which then takes ours', async () => {
    await inFolder(async (at) => {
      await mkdir(join(at, 'dir'));
      for (const path of paths) await writeFile(join(at, path), FILES[path] ?? '');
      await writeFile(join(at, 'grün.txt'), 'x');
      const names = paths.map((path) => join(at, path));
      await must('gcab', '-c', '-z', join(at, 'a.cab'), ...names, join(at, 'grün.txt'));
      const cab = await readFile(join(at, 'a.cab'));
      const contents = await contentsOf(await open(cab));
      const found = [...contents].map(([path, content]) => [path.split('/').at(-1), content] as const);
      assert.deepEqual(
        new Map(found),
        new Map([
          ...Object.entries(FILES).map(([path, content]) => [path.split('/').at(-1), content] as const),
          ['grün.txt', Buffer.from('x')],
        ]),
      );
      const exe = [...contents.keys()].find((path) => path.endsWith('setup.exe')) ?? '';
      await writeFile(join(at, 'b.cab'), await replace(cab, { [exe]: filler(99, 1) }));
      await must('gcab', '-x', '-C', join(at, 'dir'), join(at, 'b.cab'));
      assert.match(await must('gcab', '-t', join(at, 'b.cab')), /setup\.exe/);
    });
  });
});

describe('files in a cabinet are not replaced', () => {
  const fixed: [why: RegExp, cab: Buffer][] = [
    [/is compressed with LZX/, buildCab({ folders: [{ ...folder('stored', ['first.txt']), type: 0x1503 }] })],
    [
      /is compressed with Quantum/,
      buildCab({ folders: [{ ...folder('stored', ['first.txt']), type: 0x0072 }] }),
    ],
    [/one of a set/, buildCab({ folders: [folder('stored', ['first.txt'])], next: ['b.cab', ''] })],
    [
      /reserved areas/,
      buildCab({ folders: [folder('stored', ['first.txt'])], reserve: { header: Buffer.from('x') } }),
    ],
    [
      /other bytes follow/,
      Buffer.concat([buildCab({ folders: [folder('stored', ['first.txt'])] }), Buffer.of(1)]),
    ],
  ];
  for (const [why, cab] of fixed)
    it(`cab-member-fixed: ${why.source}`, async () => {
      assert.match((await open(cab)).members[0]?.fixed ?? '', why);
      await assert.rejects(replace(cab, { 'first.txt': Buffer.of(1) }), {
        code: 'cab-member-fixed',
        message: why,
      });
    });

  it('cab-compression, cab-set: what cannot be unpacked throws when it is read, others are read', async () => {
    const quantum = { ...folder('stored', ['first.txt']), type: 0x0072 };
    const continued = { files: [{ name: 'c', data: Buffer.of(1), folder: 0xfffe }] };
    const cab = buildCab({
      folders: [quantum, folder('mszip', ['dir/last.bin']), continued],
      next: ['b.cab', ''],
    });
    const seen: string[] = [];
    for await (const { member, content } of (await open(cab)).read(() => true))
      try {
        for await (const _ of content);
        seen.push(member.path);
      } catch (error) {
        seen.push((error as { code: string }).code);
      }
    assert.deepEqual(seen, ['cab-compression', 'dir/last.bin', 'cab-set']);
  });
});

describe('a cabinet is not opened', () => {
  const one = (name: string, data: Buffer = Buffer.of(1)): CabFolderOptions => ({ files: [{ name, data }] });
  const refused: [code: string, what: string, cab: Buffer, limits?: Partial<typeof LIMITS>][] = [
    ['cab-path-unsafe', 'a path that climbs', buildCab({ folders: [one('..\\a.exe')] })],
    ['cab-path-unsafe', 'an absolute path', buildCab({ folders: [one('\\a.exe')] })],
    ['cab-path-duplicate', 'one name twice', buildCab({ folders: [one('a.exe'), one('A.EXE')] })],
    ['cab-path-duplicate', 'one name in two ways', buildCab({ folders: [one('d\\a.exe'), one('d/a.exe')] })],
    [
      'cab-too-many-files',
      'more files than permitted',
      buildCab({ folders: [one('a'), one('b')] }),
      { entries: 1 },
    ],
    ['cab-file-too-large', 'a larger file', buildCab({ folders: [one('a', filler(9, 1))] }), { entry: 8 }],
    [
      'cab-reserve',
      'areas in its blocks',
      buildCab({ folders: [one('a')], reserve: { header: Buffer.of(), data: 1 } }),
    ],
    ['cab-corrupt', 'files that overlap', overlapping(1)],
    ['cab-corrupt', 'files in descending order', overlapping(0)],
    [
      'cab-corrupt',
      'folders in descending order',
      buildCab({
        folders: [
          { files: [{ name: 'a', data: Buffer.of(1), folder: 1 }] },
          one('b'),
          { files: [{ name: 'c', data: Buffer.of(1), folder: 0 }] },
        ],
      }),
    ],
  ];
  for (const [code, what, cab, limits] of refused)
    it(`${code}: ${what}`, () => assert.rejects(open(cab, { ...LIMITS, ...limits }), { code }));

  it('cab-bomb: a folder that unpacks to more than the ratio permits', async () => {
    const cab = buildCab({ folders: [{ ...one('a', Buffer.alloc(2_000_000)), compression: 'mszip' }] });
    await assert.rejects(contentsOf(await open(cab)), { code: 'cab-bomb' });
  });
});

/** Two files of two bytes, the second at an offset that is too small. */
function overlapping(offset: number): Buffer {
  const data = Buffer.of(1, 2);
  const cab = buildCab({
    folders: [
      {
        files: [
          { name: 'a', data },
          { name: 'b', data },
        ],
      },
    ],
  });
  cab.writeUInt32LE(offset, 44 + 18 + 4);
  return cab;
}
