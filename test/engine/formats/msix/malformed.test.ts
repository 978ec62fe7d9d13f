/** Packages that are cut off, contradict themselves, or try to be read in two ways. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { openSignableFile } from '../../../../src/engine/formats/recognize.ts';
import { signProgram } from '../../../../src/engine/authenticode/sign.ts';
import { openMsix } from '../../../../src/engine/formats/msix/open.ts';
import { msix } from '../../../../src/engine/formats/msix/format.ts';
import { isInvalid, SignpipeError } from '../../../../src/lib/errors.ts';
import { createTestPki, testSigningKey } from '../../../../src/sandbox/certificates.ts';
import {
  buildBundle,
  buildPackage,
  manifestBy,
  packageZip,
  zipEntry,
  type ZipEntry,
} from '../../../fixtures/msix.ts';
import { bytesOf, source } from '../../authenticode/tools.ts';
import { publisherOf } from './tools.ts';

const TYPES = '[Content_Types].xml';
const MAP = 'AppxBlockMap.xml';
const MANIFEST = 'AppxManifest.xml';

const publisher = 'CN=A';
const original = buildPackage({ publisher });

const changed = (change: (entries: ZipEntry[]) => ZipEntry[]): Buffer => buildPackage({ publisher, change });

/** The package with another content of one of its parts. */
const withPart = (name: string, change: (xml: string) => string | Buffer): Buffer =>
  changed((entries) =>
    entries.map((entry) =>
      entry.name === name ? zipEntry({ name, content: change(entry.content.toString()) }) : entry,
    ),
  );

const withManifest = (manifest: string): Buffer => buildPackage({ publisher, manifest });

const entry = (name: string, content = 'x'): ZipEntry => zipEntry({ name, content });

/** Bytes written over others from `at`, counted from the end if it is negative. */
function overwritten(at: number, bytes: string): Buffer {
  const copy = Buffer.from(original);
  Buffer.from(bytes, 'hex').copy(copy, at < 0 ? copy.length + at : at);
  return copy;
}

const directoryAt = original.indexOf('PK\x01\x02');

let signed: Buffer;
before(async () => {
  const pki = await createTestPki({ key: 'p256', intermediate: false });
  const file = await openMsix(source(buildPackage({ publisher: publisherOf(pki) }), 'a.msix'));
  const key = testSigningKey(pki.codeSigning);
  signed = await bytesOf((await signProgram(file, { key, timestamper: null })).content);
});

describe('a malformed package is refused by name', () => {
  const cases: [code: string, what: string, make: () => Buffer][] = [
    ['msix-encrypted', 'encrypted', () => Buffer.from('EXPH and more')],
    ['msix-encrypted', 'an encrypted bundle', () => Buffer.from('EXBH')],
    ['msix-part-missing', 'without content types', () => changed((entries) => entries.slice(0, -1))],
    [
      'msix-part-missing',
      'without block map',
      () => changed((entries) => entries.filter(({ name }) => name !== MAP)),
    ],
    [
      'msix-part-missing',
      'without manifest',
      () => changed((entries) => entries.filter(({ name }) => name !== MANIFEST)),
    ],
    [
      'msix-layout',
      'with two manifests',
      () => changed((entries) => [entry('AppxMetadata/AppxBundleManifest.xml'), ...entries]),
    ],
    [
      'msix-content-types-not-last',
      'with a file behind the content types',
      () => changed((entries) => [...entries, entry('b.txt')]),
    ],
    [
      'msix-layout',
      'with a catalog but no signature',
      () => changed((entries) => [entry('AppxMetadata/CodeIntegrity.cat'), ...entries]),
    ],
    [
      'msix-layout',
      'with a catalog but no signature behind its content types',
      () => changed((entries) => [...entries, entry('AppxMetadata/CodeIntegrity.cat')]),
    ],
    [
      'msix-content-types-not-last',
      'with its catalog before its content types',
      () =>
        changed((entries) => [
          entry('AppxMetadata/CodeIntegrity.cat'),
          ...entries,
          entry('AppxSignature.p7x', 'PKCX!'),
        ]),
    ],
    [
      'msix-content-types-not-last',
      'with the catalog behind the signature',
      () =>
        changed((entries) => [
          ...entries,
          entry('AppxSignature.p7x', 'PKCX!'),
          entry('AppxMetadata/CodeIntegrity.cat'),
        ]),
    ],
    [
      'msix-content-types-not-last',
      'with the signature first',
      () => changed((entries) => [entry('AppxSignature.p7x', 'PKCX!'), ...entries]),
    ],
    [
      'msix-signature-part',
      'with a signature that is none',
      () => changed((entries) => [...entries, entry('AppxSignature.p7x', 'PKCY!')]),
    ],
    [
      'msix-signature-part',
      'with an empty signature',
      () => changed((entries) => [...entries, entry('AppxSignature.p7x', 'PKCX')]),
    ],
    [
      'msix-part-too-large',
      'with a huge signature',
      () => changed((entries) => [...entries, entry('AppxSignature.p7x', 'x'.repeat(2 ** 20 + 1))]),
    ],
    ['zip-entry-duplicate', 'with a file twice', () => changed((entries) => [entry('a.TXT'), ...entries])],
    [
      'msix-entry-name',
      'with a file twice, once escaped',
      () => changed((entries) => [entry('%61.txt'), ...entries]),
    ],
    [
      'msix-entry-name',
      'with a malformed escape',
      () => changed((entries) => [entry('a%zz.txt'), ...entries]),
    ],
    [
      'msix-entry-name',
      'with an escape that is no UTF-8',
      () => changed((entries) => [entry('a%ff.txt'), ...entries]),
    ],
    [
      'msix-entry-name',
      'with a name that climbs out when it is unescaped',
      () => changed((entries) => [entry('%2e%2e/a.txt'), ...entries]),
    ],
    [
      'msix-entry-name',
      'with an escaped slash of Windows',
      () => changed((entries) => [entry('a%5Cb.txt'), ...entries]),
    ],
    ['msix-entry-name', 'with an escaped NUL', () => changed((entries) => [entry('a%00.txt'), ...entries])],
    [
      'zip-entry-path-unsafe',
      'with a name that climbs out',
      () => changed((entries) => [entry('../a.txt'), ...entries]),
    ],
    [
      'msix-layout',
      'with a folder',
      () => changed((entries) => [{ ...entry('a/', ''), method: 0, data: Buffer.alloc(0) }, ...entries]),
    ],
    [
      'msix-layout',
      'with another method',
      () => changed((entries) => entries.map((each, at) => (at === 0 ? { ...each, method: 12 } : each))),
    ],
    ['msix-layout', 'with a comment', () => Buffer.concat([overwritten(-2, '0400'), Buffer.from('text')])],
    ['msix-layout', 'with zeros behind it', () => Buffer.concat([original, Buffer.alloc(5)])],
    [
      'zip-headers-disagree',
      'whose 64-bit end record has another number of entries',
      () => overwritten(original.indexOf('PK\x06\x06') + 24, '05'),
    ],
    [
      'zip-directory-damaged',
      'without the 64-bit end record',
      () => overwritten(original.indexOf('PK\x06\x06'), '00'),
    ],
    [
      'zip-truncated',
      'whose directory is said to be longer',
      () => overwritten(original.indexOf('PK\x06\x06') + 40, 'ff'),
    ],
    ['zip-headers-disagree', 'with another name in the directory', () => overwritten(directoryAt + 46, '62')],
    [
      'zip-headers-disagree',
      'with another CRC-32 behind the data',
      () => overwritten(original.indexOf('PK\x07\x08') + 4, '00000000'),
    ],
    ['zip-entry-encrypted', 'with an encrypted entry', () => overwritten(directoryAt + 8, '09')],
    [
      'msix-layout',
      'with unknown flags',
      () => {
        const copy = overwritten(6, '88');
        return Buffer.from(copy.fill(0x88, directoryAt + 8, directoryAt + 9));
      },
    ],
    [
      'zip-entry-damaged',
      'with damaged content types',
      () =>
        changed((entries) =>
          entries.map((each) => (each.name === TYPES ? { ...each, data: Buffer.alloc(9, 7) } : each)),
        ),
    ],
    [
      'zip-entry-slack',
      'with bytes behind compressed content types',
      () =>
        changed((entries) =>
          entries.map((each) =>
            each.name === TYPES ? { ...each, data: Buffer.concat([each.data, Buffer.from('hidden')]) } : each,
          ),
        ),
    ],
    [
      'zip-bomb',
      'that would unpack to two hundred times its size',
      () => {
        const bytes = overwritten(directoryAt + 46 + 'a.txt'.length + 4, '00000050');
        bytes.writeUInt32LE(0x50000000, bytes.indexOf('PK\x07\x08') + 16);
        return bytes;
      },
    ],
    ['xml-malformed', 'with content types that do not end', () => withPart(TYPES, (xml) => xml.slice(0, -1))],
    [
      'xml-malformed',
      'with a document type',
      () => withPart(TYPES, (xml) => xml.replace('<Types', '<!DOCTYPE Types><Types')),
    ],
    [
      'xml-malformed',
      'with a block map in UTF-16',
      () => withPart(MAP, (xml) => Buffer.from(xml, 'utf16le')),
    ],
    [
      'msix-content-types',
      'with another root',
      () => withPart(TYPES, (xml) => xml.replaceAll('Types', 'Typen')),
    ],
    [
      'msix-content-types',
      'with content types of another namespace',
      () => withPart(TYPES, (xml) => xml.replace('2006', '2007')),
    ],
    [
      'msix-content-types',
      'with unknown elements',
      () => withPart(TYPES, (xml) => xml.replace('<Default', '<Other')),
    ],
    [
      'msix-content-types',
      'with a type that has more attributes',
      () => withPart(TYPES, (xml) => xml.replace('<Default', '<Default a="b"')),
    ],
    [
      'msix-content-types',
      'with two types for an extension',
      () => withPart(TYPES, (xml) => xml.replace(/(<Default[^>]*>)/, '$1$1')),
    ],
    [
      'msix-block-map',
      'with another root of the block map',
      () => withPart(MAP, (xml) => xml.replaceAll('BlockMap', 'Map')),
    ],
    ['msix-block-map', 'with an unknown hash', () => withPart(MAP, (xml) => xml.replace('#sha256', '#md5'))],
    [
      'msix-block-map',
      'with a hash of another length',
      () => withPart(MAP, (xml) => xml.replace(/Hash="..../, 'Hash="')),
    ],
    [
      'msix-block-map',
      'with a hash that is no base64',
      () => withPart(MAP, (xml) => xml.replace(/Hash="./, 'Hash="!')),
    ],
    [
      'msix-block-map',
      'with a negative size',
      () => withPart(MAP, (xml) => xml.replace(' Size="', ' Size="-')),
    ],
    [
      'msix-block-map',
      'with a size beyond all numbers',
      () => withPart(MAP, (xml) => xml.replace(' Size="', ' Size="9999999999999999')),
    ],
    ['msix-block-map', 'with a nameless file', () => withPart(MAP, (xml) => xml.replace(' Name=', ' Nom='))],
    [
      'msix-block-map',
      'with a file twice',
      () => withPart(MAP, (xml) => xml.replace(/(<File .*?<\/File>)/, '$1$1')),
    ],
    [
      'msix-block-map',
      'with an unknown element',
      () => withPart(MAP, (xml) => xml.replace('</File>', '<b4:Other/></File>')),
    ],
    [
      'msix-manifest',
      'with another root of the manifest',
      () => withManifest('<Bundle xmlns="http://schemas.microsoft.com/appx/2013/bundle"/>'),
    ],
    [
      'msix-manifest',
      'with a manifest of no known namespace',
      () => withManifest(manifestBy(publisher).replace('foundation', 'f')),
    ],
    [
      'msix-manifest',
      'without an identity',
      () => withManifest(manifestBy(publisher).replace('<Identity', '<Id')),
    ],
    [
      'msix-manifest',
      'with two identities',
      () => withManifest(manifestBy(publisher).replace(/(<Identity[^>]*>)/, '$1$1')),
    ],
    [
      'msix-manifest',
      'without a publisher',
      () => withManifest(manifestBy(publisher).replace('Publisher=', 'Other=')),
    ],
    ['msix-end-records', 'signed, without 64-bit end records', () => withoutWideEnd(signed)],
  ];
  for (const [code, what, make] of cases)
    it(`${code}: ${what}`, async () => {
      const start = performance.now();
      const bytes = make();
      await assert.rejects(
        async () => (await openMsix(source(bytes, 'a.msix'))).digest('sha256'),
        (error: SignpipeError) => {
          assert.equal(error.code, code, error.message);
          return isInvalid(error);
        },
      );
      assert.ok(performance.now() - start < 5000);
    });

  it('msix-manifest: of a bundle, with a place that is no number', async () => {
    const bundle = (offset: string): Buffer =>
      buildBundle([], {
        publisher,
        manifest: `<Bundle xmlns="http://schemas.microsoft.com/appx/2013/bundle"><Identity Name="A" Publisher="CN=A" Version="1"/><Packages><Package FileName="a" Offset="${offset}"/></Packages></Bundle>`,
      });
    for (const [offset, code] of [
      ['1', 'msix-manifest-differs'],
      ['0x1', 'msix-manifest'],
      ['', 'msix-manifest'],
    ]) {
      const findings = await (await openMsix(source(bundle(offset ?? ''), 'a.msixbundle'))).uncoveredFields();
      assert.equal(findings[0]?.code, code);
    }
  });

  it('wherever it ends', async () => {
    for (let length = 0; length < signed.length; length += 7)
      await assert.rejects(openMsix(source(signed.subarray(0, length), 'a.msix')), isInvalid);
  });
});

describe('a zip', () => {
  it('with files of a package is one, and every other is not', async () => {
    assert.equal(await msix.confirm?.(source(original, 'a.zip')), true);
    assert.equal(
      await msix.confirm?.(source(packageZip([entry('a.exe'), entry(MANIFEST)]), 'a.msix')),
      false,
    );
  });

  it('is opened as a package by its content', async () => {
    assert.equal((await openSignableFile(source(original, 'a.zip'))).format, 'msix');
  });
});

/** The package with its end record in 32 bits, which most readers of zips take as well. */
function withoutWideEnd(bytes: Buffer): Buffer {
  const wide = bytes.lastIndexOf('PK\x06\x06');
  const end = Buffer.from(bytes.subarray(-22));
  for (const [from, to, length] of [
    [32, 8, 2],
    [32, 10, 2],
    [40, 12, 4],
    [48, 16, 4],
  ] as const)
    bytes.copy(end, to, wide + from, wide + from + length);
  return Buffer.concat([bytes.subarray(0, wide), end]);
}
