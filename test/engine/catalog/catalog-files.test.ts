/** Catalogs of files and folders: what they list, and how a folder is compared with one. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'node:test';
import { checkFiles } from '../../../src/engine/catalog/check-files.ts';
import { findFiles } from '../../../src/engine/catalog/listed-paths.ts';
import { makeCatalog, type CatalogOptions } from '../../../src/engine/catalog/make-catalog.ts';
import { folded } from '../../../src/engine/catalog/windows-paths.ts';
import { signProgram } from '../../../src/engine/authenticode/sign.ts';
import { buildList, type ListedFile } from '../../../src/engine/formats/catalog/build-list.ts';
import { buildUnsignedCatalog } from '../../../src/engine/formats/catalog/catalog-file.ts';
import { parseTrustList, textOf, type TrustList } from '../../../src/engine/formats/catalog/trust-list.ts';
import { children, parseDer } from '../../../src/lib/asn1/der.ts';
import { NULL, octets, oid, seq, set, time } from '../../../src/lib/asn1/encode-der.ts';
import { OID } from '../../../src/lib/asn1/oids.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { createTestPki, testSigningKey } from '../../../src/sandbox/certificates.ts';
import { buildPe, filler } from '../../fixtures/pe.ts';
import { bytesOf, openBytes } from '../authenticode/tools.ts';
import { listed, TIME } from '../formats/catalog/catalogs.ts';

const program = buildPe({ checksum: 'right', sections: [{ name: '.text', data: filler(600, 1) }] });

/** An entry of which only the identifier has the digest. */
const ofSha1 = seq(
  seq(oid(OID.catalogList)),
  time(TIME),
  seq(oid(OID.catalogListMember2), NULL),
  seq(seq(octets(Buffer.alloc(20, 1)), set())),
);

let authenticode: Buffer;
before(async () => {
  authenticode = await (await openBytes(program)).digest('sha256');
});

let folder = '';
const at = (...path: string[]): string => join(folder, 'driver', ...path);
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'signpipe-catalog-'));
  await mkdir(at('x64'), { recursive: true });
  await writeFile(at('driver.inf'), '[Version]\r\n');
  await writeFile(at('x64', 'driver.sys'), program);
  await writeFile(at('x64', 'empty.txt'), '');
});
afterEach(() => rm(folder, { recursive: true }));

const options = (more: Partial<CatalogOptions> = {}): CatalogOptions => ({
  output: at('driver.cat'),
  time: TIME,
  ...more,
});

/** The list in an unsigned catalog. */
function listIn(der: Buffer): TrustList {
  const [, wrapped = assert.fail()] = children(parseDer(der, 'it'), 'it');
  const [, , content = assert.fail()] = children(parseDer(wrapped.body, 'it'), 'it');
  const [, list = assert.fail()] = children(content, 'it');
  return parseTrustList(list.body, 'it');
}

const described = ({ entries }: TrustList): (string | undefined)[][] =>
  entries.map(({ identifier, data, attributes }) => [
    identifier.toString('hex'),
    data?.type,
    ...attributes.map((each) => `${each.name}=${textOf(each) ?? ''}`),
  ]);

const sha256 = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

async function check(catalog: Buffer): Promise<string[]> {
  const { good, faults } = await checkFiles(new BufferSource(catalog, at('driver.cat')), at());
  return [`${good} good`, ...faults.map(({ code, path }) => `${code} ${path}`)];
}

describe('a catalog of a folder', () => {
  it('lists PE files by their Authenticode digest, others by that of their bytes, and empty ones by name', async () => {
    const { der, paths } = await makeCatalog([at()], options());
    assert.deepEqual(paths, ['driver.inf', 'x64\\driver.sys', 'x64\\empty.txt']);
    const list = listIn(der);
    assert.deepEqual(
      described(list),
      [
        [sha256('[Version]\r\n'), OID.spcCabData, 'FilePath=driver.inf'],
        [authenticode.toString('hex'), OID.spcPeImageData, 'FilePath=x64\\driver.sys'],
      ].sort(([a = ''], [b = '']) => (a < b ? -1 : 1)),
    );
    assert.deepEqual(list.attributes.map(textOf), ['x64\\empty.txt']);
    assert.deepEqual((await makeCatalog([at()], options())).der, der);
  });

  it('lists equal files once, with both paths, and not itself', async () => {
    await writeFile(at('x64', 'copy.inf'), '[Version]\r\n');
    await writeFile(at('driver.cat'), 'an earlier catalog');
    const list = listIn((await makeCatalog([at()], options())).der);
    assert.equal(list.entries.length, 2);
    assert.deepEqual(
      described(list)
        .find(([digest]) => digest === sha256('[Version]\r\n'))
        ?.slice(2)
        .sort(),
      ['FilePath=driver.inf', 'FilePath=x64\\copy.inf'],
    );
  });

  it('has further attributes, and SHA-1 digests, if they are wanted', async () => {
    const list = listIn(
      (
        await makeCatalog(
          [at('driver.inf')],
          options({
            attributes: [{ name: 'HWID1', value: 'root\\x' }],
            fileAttributes: [{ name: 'OSAttr', value: '2:10.0' }],
            sha1: true,
          }),
        )
      ).der,
    );
    const about = ['FilePath=driver.inf', 'OSAttr=2:10.0'];
    const sha1 = createHash('sha1').update('[Version]\r\n').digest('hex');
    assert.deepEqual(
      described(list).map(([digest, type, ...attributes]) => [digest, type, ...attributes.toReversed()]),
      [
        [sha256('[Version]\r\n'), OID.spcCabData, ...about],
        [sha1, undefined, ...about],
      ].sort(([a = ''], [b = '']) => (a < b ? -1 : 1)),
    );
    assert.deepEqual(
      list.attributes.map(({ name }) => name),
      ['HWID1'],
    );
  });

  it('does not list itself either if a link leads to it', async () => {
    await writeFile(at('driver.cat'), 'an earlier catalog');
    await symlink('driver', join(folder, 'link'));
    const { paths } = await makeCatalog([at()], options({ output: join(folder, 'link', 'driver.cat') }));
    assert.ok(!paths.includes('driver.cat'));
    const linked = await makeCatalog([join(folder, 'link')], options());
    assert.deepEqual(linked.paths, paths);
  });

  it('catalog-too-many-files: does not hold the names of more files than a catalog may list', async () => {
    assert.equal((await findFiles([at()], at('driver.cat'), 3)).length, 3);
    await assert.rejects(findFiles([at()], at('driver.cat'), 2), { code: 'catalog-too-many-files' });
  });

  const refused: [
    code: string,
    what: string,
    prepare: () => Promise<unknown>,
    more?: Partial<CatalogOptions>,
  ][] = [
    ['catalog-not-a-file', 'a link', () => symlink('driver.inf', at('link'))],
    ['catalog-path', 'a name with a colon', () => writeFile(at('a:b'), 'x')],
    ['catalog-path', 'a name with a backslash', () => writeFile(at('a\\b'), 'x')],
    ['catalog-path', 'a name with a dot at its end', () => writeFile(at('a.'), 'x')],
    [
      'catalog-path',
      'a folder with a space at its end',
      () => mkdir(at('a ')).then(() => writeFile(at('a ', 'b'), 'x')),
    ],
    ['catalog-path', 'the name of a device', () => writeFile(at('Aux.txt'), 'x')],
    [
      'catalog-path',
      'a name that is not UTF-8',
      () => writeFile(Buffer.concat([Buffer.from(at('a')), Buffer.from([0xff])]), 'x'),
    ],
    [
      'catalog-path-repeated',
      'names that Windows does not tell apart',
      () => writeFile(at('DRIVER.INF'), 'x'),
    ],
    [
      'catalog-path-repeated',
      'Greek names that Windows does not tell apart',
      () => Promise.all(['σ', 'ς'].map((name) => writeFile(at(name), 'x'))),
    ],
    ['catalog-cabinet', 'a cabinet', () => writeFile(at('a.cab'), Buffer.from('MSCF\0\0\0\0'))],
    ['catalog-empty', 'nothing', () => rm(at(), { recursive: true }).then(() => mkdir(at()))],
    ['file-not-found', 'no folder', () => rm(at(), { recursive: true })],
    [
      'catalog-attribute',
      'an attribute FilePath',
      async () => {},
      { attributes: [{ name: 'FilePath', value: 'x' }] },
    ],
    [
      'catalog-attribute',
      'an attribute without a name',
      async () => {},
      { fileAttributes: [{ name: '', value: 'x' }] },
    ],
  ];
  for (const [code, what, prepare, more] of refused)
    it(`${code}: ${what}`, async () => {
      await prepare();
      await assert.rejects(makeCatalog([at()], options(more)), { code });
    });
});

it('compares names as NTFS does: unit by unit, in upper case, never a letter of ASCII with another', () => {
  const classes = [
    ['straße'],
    ['STRASSE'],
    ['k', 'K'],
    ['\u212a'],
    ['i', 'I'],
    ['ı'],
    ['İ'],
    ['s'],
    ['ſ'],
    ['é', 'É'],
    ['σ', 'ς', 'Σ'],
  ];
  const all = classes.flat();
  for (const each of classes)
    for (const name of each)
      assert.deepEqual(
        all.filter((other) => folded(other) === folded(name)),
        each,
      );
});

describe('a folder that is compared with its catalog', () => {
  let catalog: Buffer;
  beforeEach(async () => {
    catalog = (await makeCatalog([at()], options())).der;
    await writeFile(at('driver.cat'), catalog);
  });

  it('is good as it was, and with its programs signed afterwards', async () => {
    assert.deepEqual(await check(catalog), ['3 good']);
    const key = testSigningKey((await createTestPki({ key: 'p256', intermediate: false })).codeSigning);
    const signed = await bytesOf(
      (await signProgram(await openBytes(program), { key, timestamper: null })).content,
    );
    await writeFile(at('x64', 'driver.sys'), signed);
    assert.deepEqual(await check(catalog), ['3 good']);
    await writeFile(at('x64', 'driver.sys'), Buffer.concat([signed, Buffer.from('hidden!!')]));
    assert.match((await check(catalog)).join('\n'), /^2 good\n(?:pe-|catalog-file-bad )/);
  });

  const changes: [faults: string[], what: string, change: () => Promise<unknown>][] = [
    [
      ['2 good', 'catalog-file-changed driver.inf'],
      'another text',
      () => writeFile(at('driver.inf'), '[Version]\n'),
    ],
    [['2 good', 'catalog-file-changed driver.inf'], 'no text', () => writeFile(at('driver.inf'), '')],
    [
      ['2 good', 'catalog-file-changed x64\\empty.txt'],
      'text in an empty file',
      () => writeFile(at('x64', 'empty.txt'), 'x'),
    ],
    [['2 good', 'catalog-file-missing driver.inf'], 'a file less', () => rm(at('driver.inf'))],
    [['3 good', 'catalog-file-extra evil.dll'], 'a file more', () => writeFile(at('evil.dll'), 'x')],
    [['3 good', 'catalog-file-extra link'], 'a link more', () => symlink('driver.inf', at('link'))],
    [
      ['2 good', 'catalog-file-extra x64/driver.sys', 'catalog-file-missing x64\\driver.sys'],
      'a name that looks like a path',
      () => rename(at('x64', 'driver.sys'), at('x64\\driver.sys')),
    ],
    [
      ['2 good', 'catalog-file-extra other.inf', 'catalog-file-missing driver.inf'],
      'another name',
      () => rename(at('driver.inf'), at('other.inf')),
    ],
    [
      ['1 good', 'catalog-file-changed driver.inf', 'catalog-file-changed x64\\driver.sys'],
      'two files exchanged',
      async () => {
        await writeFile(at('driver.inf'), program);
        await writeFile(at('x64', 'driver.sys'), '[Version]\r\n');
      },
    ],
  ];
  for (const [faults, what, change] of changes)
    it(`${faults.slice(1).join(', ')}: ${what}`, async () => {
      await change();
      assert.deepEqual(await check(catalog), faults);
    });

  it('may have its names in capitals', async () => {
    await rename(at('driver.inf'), at('Driver.INF'));
    assert.deepEqual(await check(catalog), ['3 good']);
  });

  it('is compared by digests alone with a catalog that gives no paths, such as those of drivers', async () => {
    await rm(at('x64', 'empty.txt'));
    const flat = listed('[Version]\r\n', { attributes: [{ name: 'File', value: 'driver.inf' }] });
    const sys = { ...flat, kind: 'pe' as const, sha256: await (await openBytes(program)).digest('sha256') };
    const ofDriver = buildUnsignedCatalog(buildList([flat, sys], { time: TIME }));
    assert.deepEqual(await check(ofDriver), ['2 good']);
    await writeFile(at('driver.inf'), 'other');
    assert.deepEqual(await check(ofDriver), [
      '1 good',
      'catalog-file-extra driver.inf',
      'catalog-file-missing driver.inf',
    ]);
  });

  it('is compared by paths and by digests with a catalog of which only some entries have paths', async () => {
    const list = [
      listed('[Version]\r\n', { attributes: [{ name: 'FilePath', value: 'driver.inf' }] }),
      sys(),
    ];
    const mixed = buildUnsignedCatalog(buildList(list, { time: TIME }));
    await rm(at('x64', 'empty.txt'));
    assert.deepEqual(await check(mixed), ['2 good']);
    await rename(at('x64', 'driver.sys'), at('other.sys'));
    assert.deepEqual(await check(mixed), ['2 good']);
    await rename(at('other.sys'), at('driver.inf'));
    assert.deepEqual(await check(mixed), [
      '0 good',
      'catalog-file-changed driver.inf',
      'catalog-file-missing x.sys',
    ]);
  });

  const sys = (more: Partial<ListedFile> = {}): ListedFile => ({
    kind: 'pe',
    sha256: authenticode,
    attributes: [{ name: 'File', value: 'x.sys' }],
    ...more,
  });

  it('is not good with the digest of another kind: of the bytes of a file, or of a program', async () => {
    await rm(at('driver.inf'));
    await rm(at('x64', 'empty.txt'));
    const attributes = [{ name: 'FilePath', value: 'x64\\driver.sys' }];
    const asBytes = [sys({ kind: 'flat' }), sys({ kind: 'flat', attributes })];
    for (const [list, faults] of [
      [asBytes.slice(0, 1), ['0 good', 'catalog-file-extra x64\\driver.sys', 'catalog-file-missing x.sys']],
      [asBytes.slice(1), ['0 good', 'catalog-file-changed x64\\driver.sys']],
      [[sys()], ['1 good']],
    ] as const)
      assert.deepEqual(await check(buildUnsignedCatalog(buildList(list, { time: TIME }))), faults);
  });

  it('is compared with its catalog wherever a link to this lies', async () => {
    await symlink('driver', join(folder, 'link'));
    const source = new BufferSource(catalog, join(folder, 'link', 'driver.cat'));
    assert.equal((await checkFiles(source, at())).good, 3);
  });

  it('not-a-folder: a file', () =>
    assert.rejects(checkFiles(new BufferSource(catalog, at('driver.cat')), at('driver.inf')), {
      code: 'not-a-folder',
    }));

  const unusable: [code: string, what: string, catalog: () => Buffer][] = [
    ['not-a-catalog', 'a program', () => program],
    ['not-signable', 'a text', () => Buffer.from('text')],
    ['catalog-sha1', 'a catalog of SHA-1 digests alone', () => buildUnsignedCatalog(ofSha1)],
    [
      'catalog-entry-differs',
      'a catalog with an entry of another digest',
      () => {
        const list = buildList([listed('a')], { time: TIME });
        list.write('another', list.indexOf(listed('a').sha256));
        return buildUnsignedCatalog(list);
      },
    ],
    [
      'catalog-path-repeated',
      'a catalog with two digests for one path',
      () =>
        buildUnsignedCatalog(
          buildList([listed('a'), listed('b', { attributes: listed('a').attributes })], { time: TIME }),
        ),
    ],
  ];
  for (const [code, what, bytes] of unusable)
    it(`${code}: ${what}`, () => assert.rejects(check(bytes()), { code }));
});
