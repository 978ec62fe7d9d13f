import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { crc32 } from 'node:zlib';
import { pathsOf, placeOf, whyUnsafe, normalPath } from '../../../src/lib/zip/entry-paths.ts';
import { compilePatterns, isOurs } from '../../../src/engine/artifact/globs.ts';
import { extra, forge, random, read, run, save, temporaryFolder, type Forged } from './zips.ts';

interface Field {
  version?: number;
  crc?: number;
}

/** Info-ZIP's Unicode Path field for a header whose name is `plain`. */
function unicode(plain: string | Buffer, path: string | Buffer, { version = 1, crc }: Field = {}): Buffer {
  const head = Buffer.alloc(5, version);
  head.writeUInt32LE(crc ?? crc32(plain), 1);
  return extra(0x7075, Buffer.concat([head, Buffer.from(path as string)]));
}

const STALE = { crc: 1 };
const A: Forged = { name: 'setup.exe', content: 'signed' };

const readingsOf = async (entry: Forged): Promise<readonly string[]> => {
  const [first] = (await read(forge([entry]))).entries;
  assert.ok(first);
  return pathsOf(first);
};

describe('the forms of a name, the displayed one first', () => {
  const utf8 = Buffer.from('Bürger/h.exe');
  const cases: Record<string, [Forged, string[]]> = {
    'ASCII has one': [{ name: 'a/b.exe', flags: 0 }, ['a/b.exe']],
    'flagged UTF-8 has one': [{ name: 'Bürger/h.exe' }, ['Bürger/h.exe']],
    'UTF-8 without the flag is UTF-8, or code page 437': [
      { name: utf8, flags: 0 },
      ['Bürger/h.exe', 'B├╝rger/h.exe'],
    ],
    'what is not UTF-8 is code page 437': [{ name: Buffer.from([0x81, 0x2e, 0x74]), flags: 0 }, ['ü.t']],
    'a Unicode Path field comes before the name in the header': [
      { name: 'b?.exe', flags: 0, localExtra: unicode('b?.exe', 'bü.exe') },
      ['bü.exe', 'b?.exe'],
    ],
    'a Unicode Path field of another name is what few readers see': [
      { name: 'b.exe', flags: 0, localExtra: unicode('b.exe', 'old.exe', STALE) },
      ['b.exe', 'old.exe'],
    ],
    'so is one of an unknown version': [
      { name: 'b.exe', flags: 0, localExtra: unicode('b.exe', 'new.exe', { version: 2 }) },
      ['b.exe', 'new.exe'],
    ],
    'an empty Unicode Path field says that the name is UTF-8': [
      { name: utf8, flags: 0, localExtra: unicode(utf8, '') },
      ['Bürger/h.exe', 'B├╝rger/h.exe'],
    ],
    'a leading ./ is nothing': [{ name: './x.exe' }, ['x.exe']],
    'nor is a segment . in the middle': [{ name: 'a/././x.exe' }, ['a/x.exe']],
    'a backslash is a slash': [{ name: 'dir\\sub\\x.exe' }, ['dir/sub/x.exe']],
    'both together': [{ name: 'a\\.\\x.exe' }, ['a/x.exe']],
    'a folder ends with a slash': [{ name: 'a\\.\\', content: '' }, ['a/']],
    'the root folder is ./': [{ name: './', content: '' }, ['./']],
  };
  for (const [what, [entry, paths]] of Object.entries(cases))
    it(what, async () => assert.deepEqual(await readingsOf(entry), paths));
});

const two = (a: Forged, b: Forged): Buffer => forge([a, { content: 'evil', ...b }]);

const REJECTED: Record<string, Record<string, Buffer>> = {
  'zip-name-ambiguous': {
    'the header names a neighbour, the Unicode Path field does not': two(A, {
      name: 'setup.exe',
      localExtra: unicode('setup.exe', 'notes.txt'),
    }),
    'only the directory has the field': two(A, {
      name: 'setup.exe',
      localExtra: Buffer.alloc(0),
      centralExtra: unicode('setup.exe', 'notes.txt'),
    }),
    'a field whose CRC-32 does not fit names a neighbour': two(A, {
      name: 'notes.txt',
      localExtra: unicode('notes.txt', 'SETUP.EXE', STALE),
    }),
    'a field of another version names a neighbour': two(A, {
      name: 'notes.txt',
      localExtra: unicode('notes.txt', './setup.exe', { version: 3 }),
    }),
    'the second of two fields names a neighbour': two(A, {
      name: 'notes.txt',
      localExtra: Buffer.concat([
        unicode('notes.txt', 'notes.txt'),
        unicode('notes.txt', 'setup.exe', STALE),
      ]),
    }),
    'two fields that fit, with two names': forge([
      { name: 'a?', localExtra: Buffer.concat([unicode('a?', 'ä'), unicode('a?', 'à')]) },
    ]),
    'UTF-8 without the flag beside the same name with it, in another reading': two(
      { name: 's├⌐tup.exe' },
      { name: Buffer.from('sétup.exe'), flags: 0 },
    ),
    'a folder for some readers, a file for others': forge([
      { name: 'x.exe', content: '', localExtra: unicode('x.exe', 'x.exe/') },
    ]),
    'it climbs for some readers': forge([{ name: 'x.exe', localExtra: unicode('x.exe', '../x.exe', STALE) }]),
    'it is a device for some readers': forge([{ name: 'x', localExtra: unicode('x', 'com1.txt', STALE) }]),
    'an entry under what is a file to some readers': two(
      { name: 'd', localExtra: unicode('d', 'e', STALE) },
      { name: 'e/x' },
    ),
    'the short name of a neighbour': two({ name: 'setup-program.exe' }, { name: 'SETUP-~1.EXE' }),
    'the short name that Windows makes of many neighbours': two(
      { name: 'setup-program.exe' },
      { name: 'SEA1B2~1.EXE' },
    ),
    'the short name of a folder': two({ name: 'third-party/x.exe' }, { name: 'THIRD-~1/y.exe' }),
    'the short name of a name with a blank': two({ name: 'my file.exe' }, { name: 'MYFILE~1.EXE' }),
  },
  'zip-entry-duplicate': {
    'a leading ./': two(A, { name: './setup.exe' }),
    'a segment .': two({ name: 'a/x.exe' }, { name: 'a/./x.exe' }),
    'a backslash': two({ name: 'a/x.exe' }, { name: 'A\\x.exe' }),
    'Unicode form': two({ name: 'sétup.exe' }, { name: 'se\u0301tup.exe' }),
    'UTF-8 with the flag and without': two(
      { name: 'sétup.exe' },
      { name: Buffer.from('sétup.exe'), flags: 0 },
    ),
    'two code points that are one letter to Windows or macOS': two({ name: 'ſ.exe' }, { name: 's.exe' }),
    'what macOS ignores': two(A, { name: 'set\u200cup.exe' }),
    'what unpackers replace on Windows': two({ name: 'a_.exe' }, { name: 'a?.exe' }),
    'two root folders': forge([{ name: './' }, { name: '././' }]),
  },
  'zip-entry-path-unsafe': {
    'an entry under a file': two({ name: 'setup.exe' }, { name: 'setup.exe/y' }),
    'an entry under a file, among neighbours that sort between': forge([
      { name: 'x' },
      { name: 'x !' },
      { name: 'x-y' },
      { name: 'x/y' },
    ]),
    'a folder with content': forge([{ name: 'x.exe/', content: 'evil' }]),
    'a folder with content, by its backslash': forge([{ name: 'x.exe\\', content: 'evil' }]),
    'a file named like the folder it is in': forge([{ name: 'a/.' }]),
    'overlong UTF-8': forge([{ name: Buffer.from([0x2e, 0xc0, 0xaf]) }]),
    'a surrogate in UTF-8': forge([{ name: Buffer.from([0x61, 0xed, 0xa0, 0x80]) }]),
    'a Unicode Path field that is not UTF-8': forge([
      { name: 'a', localExtra: unicode('a', Buffer.from([0xff])) },
    ]),
    'a Unicode Path field that is too short': forge([{ name: 'a', localExtra: extra(0x7075, Buffer.of(1)) }]),
    'control characters in a Unicode Path field': forge([
      { name: 'a', localExtra: unicode('a', 'a\u0000.exe') },
    ]),
  },
  'zip-entry-path-unsafe ': Object.fromEntries(
    [
      ...['..\\a', 'a\\..\\b', '\\a', '\\\\server\\share\\a', '//server/a', 'a\\\\b', '/', '\\'],
      ...['x.exe.', 'x.exe ', 'third-party./x.exe', 'third-party /x.exe', 'a. ./b', '. ', '...', 'a\\b.\\c'],
      ...['x.exe::$DATA', 'readme.txt:run.exe', 'dir:x/y', 'C:x', ':'],
      ...['con', 'CON.exe', 'nul.tar.gz', 'a/aux/b', 'prn ', 'lpt9.x'],
      ...['COM¹.txt', 'com³', 'CONIN$', 'conout$.a'],
      ...['nul .txt', 'a\\Com1'],
    ].map((name) => [JSON.stringify(name), forge([{ name }])]),
  ),
  'zip-headers-disagree': {
    'a Unicode name in the local header alone': forge([
      { name: 'a.txt', localExtra: unicode('a.txt', 'evil.exe'), centralExtra: Buffer.alloc(0) },
    ]),
    'another one there, that does not fit': forge([
      {
        name: 'a.txt',
        localExtra: unicode('a.txt', 'evil.exe', STALE),
        centralExtra: unicode('a.txt', 'ä.txt'),
      },
    ]),
    'an extra field that runs past its end': forge([
      { name: 'a', localExtra: Buffer.of(0x75, 0x70, 9, 0), centralExtra: Buffer.alloc(0) },
    ]),
  },
};

describe('a name is refused', () => {
  for (const [code, cases] of Object.entries(REJECTED))
    for (const [what, bytes] of Object.entries(cases))
      it(`${code.trim()}: ${what}`, () =>
        assert.rejects(read(bytes), { name: 'SignpipeError', kind: 'invalid', code: code.trim() }));
});

describe('names that look like those, and are not', () => {
  const names = [...'.hidden ..a a..b console.exe com10.x com.exe lpt nulx/aux1 .exe'.split(' '), 'a b'];
  const more = ['foo~', '~$doc.docx', 'a~1b.txt', 'x/GREEN~1.TXT', 'other\uff0eexe', 'a{b,c}[d]!.exe', ' x'];
  it('are left alone, all in one zip', async () => {
    const all = [...names, ...more];
    const { entries } = await read(forge(all.map((name) => ({ name }))));
    assert.deepEqual(
      entries.map(({ path }) => path),
      all,
    );
  });

  it('a tilde and a number is refused only beside a name that Windows would shorten to it', async () => {
    await read(forge([{ name: 'SETUP-~1.EXE' }, { name: 'x/setup-program.exe' }, { name: 'setup.exe' }]));
  });
});

describe('patterns', () => {
  const isMeant = compilePatterns(['**/*.exe', '!third-party/**', '!**/uninst.exe']);
  const cases: Record<string, boolean> = {
    'app.exe': true,
    './app.exe': true,
    'x/./app.exe': true,
    'x\\app.exe': true,
    'third-party/x.exe': false,
    './third-party/x.exe': false,
    'third-party\\x.exe': false,
    'THIRD-PARTY/./x.exe': false,
    './uninst.exe': false,
    'x/./uninst.exe': false,
  };
  for (const [path, ours] of Object.entries(cases))
    it(`${JSON.stringify(path)} is ${ours ? 'ours' : 'not ours'}`, () => assert.equal(isMeant(path), ours));

  it('match names that macOS has decomposed', () => {
    assert.ok(compilePatterns(['bürger/*.exe'.normalize('NFC')])('Bürger/x.exe'.normalize('NFD')));
    assert.ok(!compilePatterns(['**/*.exe', '!bürger/**'.normalize('NFD')])('bürger/x.exe'.normalize('NFC')));
  });
});

describe('an entry is ours in all forms of its name or in none', () => {
  const entryOf = async (entry: Forged) => {
    const [first] = (await read(forge([entry]))).entries;
    assert.ok(first);
    return first;
  };
  const utf8 = { name: Buffer.from('Bürger/h.exe'), flags: 0 };
  const ours = async (entry: Forged, ...patterns: string[]): Promise<boolean> =>
    isOurs(await entryOf(entry), compilePatterns(patterns), 'test.zip');

  it('all of them match', async () => assert.ok(await ours(utf8, '**/*.exe')));
  it('none of them does', async () => assert.ok(!(await ours(utf8, '**/*.dll'))));

  const hidden = { name: 'run.exe', localExtra: unicode('run.exe', 'notes.txt') };
  const rejected: Record<string, [Forged, string[]]> = {
    'a program in the header, a text in the Unicode Path field': [hidden, ['**/*.exe']],
    'a text in the header, a program in a field that does not fit': [
      { name: 'notes.txt', localExtra: unicode('notes.txt', 'run.exe', STALE) },
      ['**/*.exe'],
    ],
    'excluded in one reading': [utf8, ['**/*.exe', '!Bürger/**']],
    'excluded in the other reading': [utf8, ['**/*.exe', '!B├╝rger/**']],
    'matched by two patterns of which each knows one reading': [hidden, ['run.exe', '!*.txt']],
  };
  for (const [what, [entry, patterns]] of Object.entries(rejected))
    it(`zip-name-ambiguous: ${what}`, () =>
      assert.rejects(ours(entry, ...patterns), { code: 'zip-name-ambiguous', kind: 'invalid' }));
});

describe('long names', () => {
  /** Processor time in milliseconds, since elapsed time depends on what else runs. */
  const costOf = async (name: (i: number) => string): Promise<number> => {
    const zip = forge(Array.from({ length: 400 }, (_, i) => ({ name: name(i), content: '', method: 0 })));
    const before = process.cpuUsage();
    await read(zip).catch(() => {});
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  const fills = [' ', '.', 'a/', 'a./', '~1/', '. ', '\u0301', '\ufb00', './', 'con/'];
  for (const fill of fills)
    it(`full of ${JSON.stringify(fill)} take time in proportion to their length`, async () => {
      const spent = await costOf((i) => `x${fill.repeat(Math.floor(3900 / fill.length))}y${i}`);
      assert.ok(spent < 1500, `${Math.round(spent)} ms`);
    });
});

const folder = await temporaryFolder();

/** The names under which other programs unpack the files. */
const UNPACKERS: Record<string, (zip: string, to: string) => Promise<unknown>> = {
  python: (zip, to) =>
    run('python3', [
      '-c',
      'import sys,zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])',
      zip,
      to,
    ]),
  unzip: (zip, to) =>
    run('unzip', ['-o', '-q', zip, '-d', to], { env: { ...process.env, LC_ALL: 'C.UTF-8' } }),
};

describe('the name that an unpacker gives a file', () => {
  const PIECES = ['a', 'é', 'ü', '/', './', '\\', '.', '-', 'B', 'x.exe', '漢'];
  const nameOf = (next: () => number): string =>
    Array.from({ length: (next() % 5) + 1 }, () => PIECES[next() % PIECES.length]).join('');

  function entryOf(next: () => number): Forged {
    const name = Buffer.from(nameOf(next));
    const field = [{}, STALE, { version: 2 }][next() % 3];
    const localExtra = next() % 2 ? unicode(name, nameOf(next), field) : Buffer.alloc(0);
    return { name, content: 'x', flags: next() % 2 ? 0x800 : 0, localExtra };
  }

  for (const [tool, unpack] of Object.entries(UNPACKERS))
    it(`is among the forms: ${tool}`, async () => {
      const next = random(20_261_129);
      let taken = 0;
      for (let round = 0; round < 400 && taken < 12; round++) {
        const bytes = forge([entryOf(next)]);
        const archive = await read(bytes).catch(() => null);
        if (!archive?.entries[0]) continue;
        taken++;
        const known = pathsOf(archive.entries[0]).map(placeOf);
        const to = await mkdtemp(join(folder, 'u'));
        // An exit status of 1 is a warning of unzip.
        await unpack(await save(folder, 'x.zip', bytes), to).catch(() => {});
        const { stdout } = await run('find', [to, '-type', 'f', '-printf', '%P\\0'], { encoding: 'buffer' });
        for (const name of stdout.toString('utf8').split('\0').filter(Boolean))
          assert.ok(
            known.includes(placeOf(name)),
            `${JSON.stringify(name)} is none of ${JSON.stringify(known)}`,
          );
      }
      assert.ok(taken >= 12, `${taken} taken`);
    });
});

describe('normal paths', () => {
  it('stay the same if they are normalised again', () => {
    for (const path of ['a', './a', 'a/.', 'a\\.\\b', './', '.', '.\\.', '././a/./', 'a/./'])
      assert.equal(normalPath(normalPath(path)), normalPath(path));
  });

  it('are as safe as the path before', () => {
    for (const path of ['a\\..\\b', '.\\..', './/a', 'a/./con', '\\a']) assert.ok(whyUnsafe(path), path);
  });
});
