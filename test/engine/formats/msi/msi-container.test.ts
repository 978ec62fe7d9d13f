import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import type { Container } from '../../../../src/engine/formats/container.ts';
import { openMsi } from '../../../../src/engine/formats/msi/msi-file.ts';
import { encodeStreamName } from '../../../../src/engine/formats/msi/stream-names.ts';
import { DEFAULT_LIMITS } from '../../../../src/lib/zip/limits.ts';
import { buildCab, cabOf } from '../../../fixtures/cab.ts';
import { buildPe, filler } from '../../../fixtures/pe.ts';
import { ROOT_CLSID } from '../../../lib/compound-file/make-compound-file.ts';
import { forge } from '../../../lib/zip/zips.ts';
import { bytesOf, inFolder, must, source } from '../../authenticode/tools.ts';
import { fileTable, hashTable, makeDatabase, makePackage, mediaTable, stream } from './make-database.ts';

async function open(bytes: Buffer, limits = DEFAULT_LIMITS): Promise<Container> {
  const file = await openMsi(source(bytes, 'setup.msi'));
  return (await file.container(limits)) ?? assert.fail('no container');
}

async function contentsOf(bytes: Buffer): Promise<Record<string, Buffer | string>> {
  const contents: Record<string, Buffer | string> = {};
  for await (const { member, content } of (await open(bytes)).read(() => true))
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of content) chunks.push(chunk);
      contents[member.path] = Buffer.concat(chunks);
    } catch (error) {
      contents[member.path] = (error as { code: string }).code;
    }
  return contents;
}

const replace = async (bytes: Buffer, contents: Record<string, Buffer>): Promise<Buffer> => {
  const sources = Object.entries(contents).map(([path, content]) => [path, source(content)] as const);
  return bytesOf(await (await open(bytes)).replace(new Map(sources)));
};

const EXE = buildPe({ sections: [{ name: '.text', data: filler(5000, 1) }] });
const SIGNED = buildPe({ sections: [{ name: '.text', data: filler(9000, 2) }] });
const README = Buffer.from('Read me.\n'.repeat(100));

const WXS = `<?xml version="1.0" encoding="utf-8"?>
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
  <Product Name="Test" Id="ABCDDCBA-86C7-4D14-AEC0-86416A69ABDE" UpgradeCode="ABCDDCBA-7349-453F-94F6-BCB5110BA4FD"
      Language="1033" Codepage="1252" Version="1.0.0" Manufacturer="Acme">
    <Package Id="*" Description="Test" Manufacturer="Acme" InstallerVersion="100" Languages="1033" Compressed="yes" SummaryCodepage="1252"/>
    <Media Id="1" Cabinet="Sample.cab" EmbedCab="yes"/>
    <Binary Id="Action" SourceFile="a.exe"/>
    <Directory Id="TARGETDIR" Name="SourceDir"><Directory Id="INSTALLDIR" Name="Test">
      <Component Id="Main" Guid="ABCDDCBA-83F1-4F22-985B-FDB3C8ABD474">
        <File Id="MainExe" Name="a program.exe" DiskId="1" Source="a.exe" KeyPath="yes"/></Component>
      <Component Id="Read" Guid="ABCDDCBA-83F1-4F22-985B-FDB3C8ABD475">
        <File Id="ReadMe" Name="readme.txt" DiskId="1" Source="readme.txt" KeyPath="yes"/></Component>
    </Directory></Directory>
    <Feature Id="Complete" Level="1"><ComponentRef Id="Main"/><ComponentRef Id="Read"/></Feature>
  </Product>
</Wix>`;

describe('a package that wixl built', () => {
  let built: Buffer;
  before(() =>
    inFolder(async (at) => {
      await writeFile(join(at, 'a.wxs'), WXS);
      await writeFile(join(at, 'a.exe'), EXE);
      await writeFile(join(at, 'readme.txt'), README);
      await must('sh', '-c', `cd '${at}' && wixl -o a.msi a.wxs`);
      built = await readFile(join(at, 'a.msi'));
    }),
  );

  const PATHS = ['MainExe/a program.exe', 'ReadMe/readme.txt', 'Binary.Action'];

  it('has members: installed files by key and name, and programs of custom actions', async () => {
    const { members } = await open(built);
    assert.deepEqual(members, [
      { path: PATHS[0], size: EXE.length },
      { path: PATHS[1], size: README.length },
      { path: PATHS[2], size: EXE.length },
    ]);
    assert.deepEqual(await contentsOf(built), {
      [PATHS[0] ?? '']: EXE,
      [PATHS[1] ?? '']: README,
      [PATHS[2] ?? '']: EXE,
    });
  });

  it('takes new programs: msitools finds them, their sizes and hashes, and nothing else changed', async () => {
    const changed = { 'MainExe/a program.exe': SIGNED, 'Binary.Action': SIGNED };
    const rebuilt = await replace(built, changed);
    assert.deepEqual(await contentsOf(rebuilt), { ...changed, 'ReadMe/readme.txt': README });
    assert.deepEqual(await replace(built, changed), rebuilt, 'the same again');
    await inFolder(async (at) => {
      await writeFile(join(at, 'old.msi'), built);
      await writeFile(join(at, 'new.msi'), rebuilt);
      await must('msiextract', '-C', at, join(at, 'new.msi'));
      assert.deepEqual(await readFile(join(at, 'Test', 'a program.exe')), SIGNED);
      assert.deepEqual(await readFile(join(at, 'Test', 'readme.txt')), README);
      for (const name of ['old', 'new'])
        await must(
          'sh',
          '-c',
          // msidump also writes a folder Binary where it is started.
          `mkdir '${at}/${name}' && cd '${at}' && msidump -s -t -d '${at}/${name}' '${at}/${name}.msi'`,
        );
      const differences = (await must('sh', '-c', `cd '${at}' && diff -rq old new | sort; true`))
        .trim()
        .split('\n');
      assert.deepEqual(
        differences.map((line) => line.split(' ')[1]),
        ['old/File.idt', 'old/MsiFileHash.idt', 'old/_Streams/Binary.Action', 'old/_Streams/Sample.cab'],
      );
      const diff = await must(
        'sh',
        '-c',
        `cd '${at}' && diff old/File.idt new/File.idt | grep '^[<>]'; diff old/MsiFileHash.idt new/MsiFileHash.idt | grep '^>'`,
      );
      const md5 = createHash('md5').update(SIGNED).digest();
      const parts = [0, 4, 8, 12].map((part) => md5.readInt32LE(part));
      const lines = diff.split(/\r?\n/);
      assert.match(lines[0] ?? '', new RegExp(`^< MainExe\t.*a program\\.exe\t${EXE.length}\t`));
      assert.match(lines[1] ?? '', new RegExp(`^> MainExe\t.*a program\\.exe\t${SIGNED.length}\t`));
      assert.equal(lines[2], `> MainExe\t0\t${parts.join('\t')}`);
    });
  });

  it('has the same tables if each file is replaced by itself: the hashes are those of wixl', async () => {
    const again = await replace(built, { 'MainExe/a program.exe': EXE, 'ReadMe/readme.txt': README });
    const tables = async (bytes: Buffer): Promise<Buffer[]> => {
      const { file } = await openMsi(source(bytes));
      const streams = file.root.children.filter((each) => each.kind === 'stream');
      const tables = streams.filter(({ name }) => name.startsWith('\u4840'));
      return Promise.all(tables.map((each) => bytesOf(file.openStream(each))));
    };
    assert.deepEqual(await tables(again), await tables(built));
  });
});

/** A package with a file in each kind of place. */
const everywhere = (options: Parameters<typeof makeDatabase>[1] = {}): Buffer =>
  makePackage([
    ...makeDatabase(
      {
        File: fileTable([
          ['one', 'c', 'ONE~1.EXE|one program.exe', 3, null, 1],
          ['two', 'c', 'two.exe', 3, '1.0', 2],
          ['outer', 'c', 'outer.exe', 3, null, 3],
          ['loose', 'c', 'loose.exe', 3, null, 4],
          ['gone', 'c', 'gone.exe', 3, null, 5],
        ]),
        Media: mediaTable([
          [1, 1, '#one.cab'],
          [2, 2, '#two.cab'],
          [3, 3, 'outer.cab'],
          [4, 4, null],
          [5, 5, '#gone.cab'],
        ]),
        MsiFileHash: hashTable([['one', 0, 1, 2, 3, 4]]),
      },
      options,
    ),
    stream('one.cab', cabOf('one', Buffer.from('one'))),
    stream('two.cab', cabOf('two', Buffer.from('two'), 'stored')),
    stream(
      'stray.cab',
      buildCab({
        folders: [
          {
            files: [
              { name: 'one', data: Buffer.from('dup') },
              { name: 'x.exe', data: Buffer.from('ex') },
            ],
          },
        ],
      }),
    ),
    stream('Binary.run', EXE),
    stream('Binary.text', Buffer.from('not a program')),
    stream('Icon.one.exe', EXE),
    { name: encodeStreamName('Other', { table: true }), content: EXE },
    {
      name: 'sub',
      children: [stream('inner.cab', cabOf('inner.exe', Buffer.from('in'))), stream('Binary.sub', EXE)],
    },
  ]);

describe('the files in a package', () => {
  it('are named readably in messages', async () => {
    const broken = makePackage([stream('one.cab', cabOf('one', Buffer.from('one')).subarray(0, -1))]);
    await assert.rejects(open(broken), { code: 'cab-corrupt', message: /^setup\.msi!\/one\.cab: / });
  });

  it('are found wherever they are; icons, tables and other streams are none', async () => {
    for (const options of [{}, { width: 3 as const }, { codePage: 65_001 }]) {
      const { members } = await open(everywhere(options));
      const kinds = members.map(({ path, fixed = '' }) => `${path}: ${fixed}`).sort();
      assert.deepEqual(kinds, [
        'Binary.run: ',
        'gone/gone.exe: is missing in the cabinet "#gone.cab"',
        'loose/loose.exe: lies beside the package',
        'one/one program.exe: ',
        'outer/outer.exe: is in the cabinet "outer.cab" beside the package',
        'stray.cab/one: is not in the table of files',
        'stray.cab/x.exe: is not in the table of files',
        'sub/Binary.sub: is in a storage of the package',
        'sub/inner.cab/inner.exe: is in a storage of the package',
        'two/two.exe: ',
      ]);
      const elsewhere = 'msi-file-elsewhere';
      assert.deepEqual(await contentsOf(everywhere(options)), {
        'Binary.run': EXE,
        'gone/gone.exe': elsewhere,
        'loose/loose.exe': elsewhere,
        'one/one program.exe': Buffer.from('one'),
        'outer/outer.exe': elsewhere,
        'stray.cab/one': Buffer.from('dup'),
        'stray.cab/x.exe': Buffer.from('ex'),
        'sub/Binary.sub': EXE,
        'sub/inner.cab/inner.exe': Buffer.from('in'),
        'two/two.exe': Buffer.from('two'),
      });
    }
  });

  it('are found in a cabinet that has the name of a table', async () => {
    const name = encodeStreamName('hidden.cab', { table: true });
    const { members } = await open(makePackage([{ name, content: cabOf('x.exe', EXE) }]));
    assert.deepEqual(
      members.map(({ path }) => path),
      ['!hidden.cab/x.exe'],
    );
  });

  it('have names in the code page of the database', async () => {
    const tables = {
      File: fileTable([['one', 'c', 'P~1.EXE|p\u0159\u00edru\u010dka.exe', 1, null, 1]]),
      Media: mediaTable([[1, 1, '#one.cab']]),
    };
    // As windows-1250 has it.
    const database = makeDatabase(tables, { codePage: 1250 }).map(({ name, content }) => ({
      name,
      content: Buffer.from(
        content.toString('latin1').replace('pY\u00edru\rka', 'p\u00f8\u00edru\u00e8ka'),
        'latin1',
      ),
    }));
    const { members } = await open(makePackage([...database, stream('one.cab', cabOf('one', Buffer.of(1)))]));
    assert.deepEqual(
      members.map(({ path }) => path),
      ['one/p\u0159\u00edru\u010dka.exe'],
    );
  });

  it('lie beside the package if their attributes say so, whatever cabinet their medium names', async () => {
    const columns = { ...fileTable([]).columns, Attributes: 'i2' } as const;
    const rows = [
      ['in', 'c', 'in.exe', 2, null, 1, 0x4200],
      ['out', 'c', 'out.exe', 2, null, 2, 0x2200],
    ];
    const files = ['in', 'out'].map((name) => ({ name, data: Buffer.from('x') }));
    const { members } = await open(
      makePackage([
        ...makeDatabase({ File: { columns, rows }, Media: mediaTable([[1, 2, '#one.cab']]) }),
        stream('one.cab', buildCab({ folders: [{ files }] })),
      ]),
    );
    assert.deepEqual(
      members.map(({ path, fixed = '' }) => `${path}: ${fixed}`),
      ['in/in.exe: ', 'one.cab/out: is not in the table of files', 'out/out.exe: lies beside the package'],
    );
  });

  it('are also packages and zips that are streams, in which programs may hide', async () => {
    const inner = makePackage([stream('Binary.run', EXE)]);
    const zip = forge([{ name: 'a.exe', content: EXE }]);
    const { members } = await open(makePackage([stream('Binary.msi', inner), stream('Binary.zip', zip)]));
    assert.deepEqual(
      members.map(({ path, size }) => [path, size]),
      [
        ['Binary.msi', inner.length],
        ['Binary.zip', zip.length],
      ],
    );
  });

  it('are replaced in several cabinets at once, in short and in long tables', async () => {
    for (const options of [{}, { width: 3 as const }]) {
      const rebuilt = await replace(everywhere(options), {
        'one/one program.exe': SIGNED,
        'two/two.exe': EXE,
      });
      const contents = await contentsOf(rebuilt);
      assert.deepEqual([contents['one/one program.exe'], contents['two/two.exe']], [SIGNED, EXE]);
    }
  });

  it('msi-member-fixed: but not where they cannot be', async () => {
    for (const path of ['outer/outer.exe', 'stray.cab/x.exe', 'sub/Binary.sub', 'sub/inner.cab/inner.exe'])
      await assert.rejects(replace(everywhere(), { [path]: EXE }), { code: 'msi-member-fixed' });
  });

  it('msi-member-fixed: nor in a patch, which only names their keys', async () => {
    const patch = makePackage(
      [stream('PCW.cab', cabOf('one', EXE)), stream('Binary.run', EXE)],
      ROOT_CLSID.msp,
    );
    const { members } = await open(patch);
    const fixed = 'is in a patch or a transform';
    assert.deepEqual(members, [
      { path: 'PCW.cab/one', size: EXE.length, fixed },
      { path: 'Binary.run', size: EXE.length, fixed },
    ]);
    await assert.rejects(replace(patch, { 'PCW.cab/one': EXE }), { code: 'msi-member-fixed' });
  });

  it('msi-member-fixed: nor in LZX or a cabinet with a signature of its own', async () => {
    const lzx = buildCab({ folders: [{ files: [{ name: 'one', data: Buffer.from('one') }], type: 0x1503 }] });
    const reserve = { header: Buffer.alloc(20) };
    const signed = buildCab({ folders: [{ files: [{ name: 'one', data: Buffer.from('one') }] }], reserve });
    const tables = makeDatabase({
      File: fileTable([['one', 'c', 'one.exe', 3, null, 1]]),
      Media: mediaTable([[1, 1, '#one.cab']]),
    });
    const reasons = { 'is compressed with LZX': lzx, 'is in a cabinet with reserved areas': signed };
    for (const [reason, cab] of Object.entries(reasons))
      assert.equal((await open(makePackage([...tables, stream('one.cab', cab)]))).members[0]?.fixed, reason);
  });

  it('msi-too-many-files, msi-file-too-large: within the limits', async () => {
    await assert.rejects(open(everywhere(), { ...DEFAULT_LIMITS, entries: 4 }), {
      code: 'msi-too-many-files',
    });
    await assert.rejects(open(everywhere(), { ...DEFAULT_LIMITS, entry: 2 }), { code: 'msi-file-too-large' });
  });
});
