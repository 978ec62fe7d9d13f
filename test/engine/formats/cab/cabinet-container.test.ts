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

  it('have names in windows-1252, with a dash that is no control character', async () => {
    const name = Buffer.from('a \u0096 b\u00e9.exe', 'latin1');
    const { members } = await open(buildCab({ folders: [{ files: [{ name, data: Buffer.of(1) }] }] }));
    assert.deepEqual(
      members.map(({ path }) => path),
      ['a – bé.exe'],
    );
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

describe('files that share their content, as WiX stores equal ones', () => {
  /** Two folders; behind the files of both, `copy-N` shares content with `of`, as an entry alone. */
  const withCopies = (...copies: readonly string[]): Buffer => {
    const empty = { name: 'copy-0.exe', data: Buffer.alloc(0) };
    const files = folder('mszip', paths).files;
    const cab = buildCab({
      folders: [
        { files, compression: 'mszip' },
        {
          files: [
            { name: 'other', data: text(50, 8) },
            ...copies.map((_, at) => ({ ...empty, name: `copy-${at}.exe` })),
          ],
        },
      ],
    });
    const entryOf = (name: string): number => cab.indexOf(Buffer.from(`${name}\0`)) - 16;
    copies.forEach((of, at) => {
      const [from, to] = [entryOf(of.replace('/', '\\')), entryOf(`copy-${at}.exe`)];
      cab.copy(cab, to, from, from + 10); // size, offset and folder
    });
    return cab;
  };
  const shared = withCopies('dir/setup.exe', 'first.txt', 'dir/setup.exe');
  const setup = FILES['dir/setup.exe'] ?? assert.fail();
  const all = { ...FILES, other: text(50, 8) };
  const contents = {
    ...all,
    'copy-0.exe': setup,
    'copy-1.exe': FILES['first.txt'] ?? assert.fail(),
    'copy-2.exe': setup,
  };
  const asMap = (files: Record<string, Buffer>): Map<string, Buffer> =>
    new Map(Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)));
  const read = async (bytes: Buffer): Promise<Map<string, Buffer>> =>
    asMap(Object.fromEntries(await contentsOf(await open(bytes))));

  it('are all read', async () => {
    assert.deepEqual(await read(shared), asMap(contents));
    const some: [string, number][] = [];
    for await (const { member, content } of (await open(shared)).read(({ path }) =>
      path.startsWith('copy'),
    )) {
      let size = 0;
      for await (const chunk of content) size += chunk.length;
      some.push([member.path, size]);
    }
    assert.deepEqual(some, [
      ['copy-1.exe', 40_000],
      ['copy-0.exe', 90_000],
      ['copy-2.exe', 90_000],
    ]);
  });

  it('are read from memory, or unpacked again if they are large', async () => {
    const large = Buffer.alloc(9 * 1024 * 1024, filler(997, 7));
    const cab = buildCab({
      folders: [
        {
          files: [
            { name: 'a', data: large },
            { name: 'b', data: Buffer.alloc(0) },
            { name: 'c', data: text(9, 1) },
          ],
        },
      ],
    });
    cab.copy(cab, 44 + 18, 44, 44 + 10);
    const contents = await read(cab);
    assert.deepEqual([...contents.keys()], ['a', 'b', 'c']);
    for (const path of ['a', 'b']) assert.ok(contents.get(path)?.equals(large), path);
  });

  it('are replaced one by one; the others keep their content', async () => {
    const changed = { 'copy-0.exe': text(70_001, 5), 'copy-2.exe': text(10, 6) };
    const rebuilt = await replace(shared, changed);
    assert.deepEqual(await read(rebuilt), asMap({ ...contents, ...changed }));
    const every = { ...changed, 'dir/setup.exe': text(3, 3) };
    const none = await replace(shared, every);
    assert.deepEqual(await read(none), asMap({ ...contents, ...every }));
    for (const [cab, tool] of [
      [rebuilt, 'cabextract'],
      [rebuilt, '7z'],
      [none, '7z'],
    ] as const)
      await inFolder(async (at) => {
        await writeFile(join(at, 'a.cab'), cab);
        const out = join(at, 'out');
        await (tool === '7z'
          ? must('7z', 'x', '-y', `-o${out}`, join(at, 'a.cab'))
          : must('cabextract', '-q', '-d', out, join(at, 'a.cab')));
        const expected = { ...contents, ...(cab === none ? every : changed) };
        for (const [path, content] of Object.entries(expected))
          assert.deepEqual(await readFile(join(out, path)), content, `${tool}: ${path}`);
      });
  });

  it('cab-bomb: come to more than the ratio permits of the cabinet', async () => {
    const copies = Array.from({ length: 40 }, () => 'dir/setup.exe');
    const container = await open(withCopies(...copies), { ...LIMITS, ratio: 20 });
    await assert.rejects(contentsOf(container), { code: 'cab-bomb' });
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

  it('cab-set: a folder that begins in another cabinet, whose offsets count from there, is not unpacked', async () => {
    const files = [
      { name: 'begun', data: Buffer.of(1), folder: 0xfffd },
      { name: 'far', data: Buffer.of(2, 3) },
    ];
    const cab = buildCab({ folders: [{ files }], previous: ['a.cab', ''] });
    cab.writeUInt32LE(5_000_000, cab.indexOf('far') - 12);
    for await (const { member, content } of (await open(cab)).read(() => true)) {
      assert.equal(member.elsewhere, true);
      await assert.rejects(
        async () => {
          for await (const _ of content);
        },
        { code: 'cab-set' },
      );
    }
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
    ['cab-corrupt', 'a file that begins with another', overlapping(0, 1)],
  ];
  for (const [code, what, cab, limits] of refused)
    it(`${code}: ${what}`, () => assert.rejects(open(cab, { ...LIMITS, ...limits }), { code }));

  it('cab-bomb: a folder that unpacks to more than the ratio permits', async () => {
    const cab = buildCab({ folders: [{ ...one('a', Buffer.alloc(2_000_000)), compression: 'mszip' }] });
    await assert.rejects(contentsOf(await open(cab)), { code: 'cab-bomb' });
  });
});

/** Two files of two bytes, the second at an offset that is too small, and of another size if that is given. */
function overlapping(offset: number, size = 2): Buffer {
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
  cab.writeUInt32LE(size, 44 + 18);
  cab.writeUInt32LE(offset, 44 + 18 + 4);
  return cab;
}
