/** What a package must be like before it is signed, and what is found in a signed one. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import { proveOnlySignatureAdded } from '../../../../src/engine/authenticode/only-signature-added.ts';
import { signProgram, type SignOptions } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import type { MsixFile } from '../../../../src/engine/formats/msix/msix-file.ts';
import { msix } from '../../../../src/engine/formats/msix/format.ts';
import { isInvalid } from '../../../../src/lib/errors.ts';
import { openMsix } from '../../../../src/engine/formats/msix/open.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import type { SigningKey } from '../../../../src/engine/keys/signing-key.ts';
import {
  blockMapOf,
  buildBundle,
  buildPackage,
  zipEntry,
  type PackageOptions,
  type ZipEntry,
} from '../../../fixtures/msix.ts';
import { filler } from '../../../fixtures/pe.ts';
import { attributeText } from '../../../../src/lib/xml/parse-xml.ts';
import { bytesOf, OpensslTimestamper, source } from '../../authenticode/tools.ts';
import { publisherOf } from './tools.ts';

let pki: TestPki;
let publisher = '';
let key: SigningKey;
let used = 0;
before(async () => {
  pki = await createTestPki({ key: 'p256', intermediate: false });
  publisher = publisherOf(pki);
  const real = testSigningKey(pki.codeSigning);
  key = Object.assign(Object.create(real) as SigningKey, {
    sign: (...args: Parameters<SigningKey['sign']>) => {
      used += 1;
      return real.sign(...args);
    },
  });
});

const open = (bytes: Buffer): Promise<MsixFile> => openMsix(source(bytes, 'a.msix'));

const build = (options: Partial<PackageOptions> = {}): Buffer => buildPackage({ publisher, ...options });

const sign = async (bytes: Buffer, options: Partial<SignOptions> = {}): Promise<Buffer> =>
  bytesOf((await signProgram(await open(bytes), { key, timestamper: null, ...options })).content);

const problemsOf = async (bytes: Buffer): Promise<string[]> =>
  (await verifySignableFile(await open(bytes))).problems.map(({ code }) => code);

/** Another content of an entry, compressed as it was. */
const withContent =
  (name: string, change: (content: string) => string) =>
  (entries: ZipEntry[]): ZipEntry[] =>
    entries.map((entry) =>
      entry.name === name
        ? zipEntry(
            { name, content: change(entry.content.toString('latin1')) },
            { flushed: name !== '[Content_Types].xml' },
          )
        : entry,
    );

const files = [
  { name: 'data/large.bin', content: filler(200_000, 1) },
  { name: 'b%C3%A4.txt', content: 'text' },
  { name: 'empty.txt', content: '' },
  { name: 'logo.png', content: filler(99, 2), stored: true },
];

describe('a package is signed', () => {
  it('with blocks, empty, stored and escaped files', async () => {
    const signed = await sign(build({ files }));
    assert.deepEqual(await problemsOf(signed), []);
    await proveOnlySignatureAdded(await open(build({ files })), await open(signed));
  });

  it('with the digest algorithm of its block map', async () => {
    for (const hash of ['sha384', 'sha512'] as const) {
      const signed = await sign(build({ files, hash }), { hash });
      assert.deepEqual(await problemsOf(signed), []);
    }
  });

  it('with a detached signature that is read without the package', async () => {
    for (const bytes of [build(), buildBundle([], { publisher })]) {
      const { signature, digest } = await signProgram(await open(bytes), { key, timestamper: null });
      const [read, ...others] = (await msix.readDetached?.(signature, 'it')) ?? [];
      assert.deepEqual([read?.digest(), others], [{ hash: 'sha256', digest }, []]);
    }
    for (const wrong of [Buffer.from('3000', 'hex'), Buffer.from('3009020100020100020100', 'hex')])
      await assert.rejects(async () => msix.readDetached?.(wrong, 'it'), isInvalid);
  });

  it('with the time of its timestamp in the headers, or with the given one', async () => {
    const timestamper = new OpensslTimestamper(pki.timestamping);
    const stamped = await open(await sign(build(), { timestamper }));
    const [signature = assert.fail()] = stamped.signatures;
    const attached = await (await open(build())).attach(signature);
    assert.deepEqual(await bytesOf(attached), await bytesOf(stamped.source), 'from the signature alone');
    const containerTime = new Date('2031-12-30T23:58:59Z');
    const given = await sign(build(), { containerTime });
    // 2031-12-30 23:58:58 in MS-DOS's form, in the local and the central header.
    assert.equal(given.toString('latin1').split('\x5d\xbf\x9e\x67').length, 3);
  });

  it('when it was signed before, with the same bytes as if it had not been', async () => {
    const containerTime = new Date('2031-12-30T23:58:59Z');
    const rsa = testSigningKey((await createTestPki({ key: 'rsa2048', intermediate: false })).codeSigning);
    const leaf = rsa.certificates[0] ?? assert.fail();
    const own = build({
      publisher: publisherOf({ ...pki, codeSigning: { ...pki.codeSigning, certificate: leaf } }),
    });
    const once = await sign(own, { key: rsa, containerTime });
    assert.deepEqual(await sign(once, { key: rsa, containerTime, existing: 'replace' }), once);
  });
});

describe('a package is refused before the key is used', () => {
  const map = 'AppxBlockMap.xml';
  const types = '[Content_Types].xml';
  const refused: [code: string, what: string, options: () => Partial<PackageOptions>][] = [
    ['msix-publisher-differs', 'by another publisher', () => ({ publisher: 'CN=Other' })],
    [
      'msix-publisher-differs',
      'by the publisher in other letters',
      () => ({ publisher: publisher.toLowerCase() }),
    ],
    ['msix-hash-differs', 'whose block map has another digest algorithm', () => ({ hash: 'sha512' })],
    [
      'msix-block-map-differs',
      'with a file that the block map lacks',
      () => ({
        change: (entries) => [zipEntry({ name: 'more.txt', content: 'x' }), ...entries],
      }),
    ],
    [
      'msix-block-map-differs',
      'without a file of the block map',
      () => ({ change: (entries) => entries.slice(1) }),
    ],
    [
      'msix-block-map-differs',
      'with another content of a file',
      () => ({
        files,
        change: withContent('b%C3%A4.txt', () => 'tExt'),
      }),
    ],
    [
      'msix-block-map-differs',
      'with another size of a file',
      () => ({
        files,
        change: withContent('b%C3%A4.txt', (text) => `${text}s`),
      }),
    ],
    [
      'msix-block-map-differs',
      'with another content of a later block',
      () => ({
        files,
        change: withContent('data/large.bin', (text) => `${text.slice(0, -1)}x`),
      }),
    ],
    [
      'msix-block-map-differs',
      'with another compressed size of a block',
      () => ({
        files,
        change: withContent(map, (xml) => xml.replace(/(<Block Hash="[^"]*" Size=")/, '$11')),
      }),
    ],
    [
      'msix-block-map-differs',
      'with a compressed size of a stored file',
      () => ({
        files,
        change: (entries) => {
          const listed = entries.slice(0, -2).map((each) => ({ ...each, method: 8 }));
          return [
            ...entries.slice(0, -2),
            zipEntry({ name: map, content: blockMapOf(listed) }),
            ...entries.slice(-1),
          ];
        },
      }),
    ],
    [
      'msix-block-map-differs',
      'with another length of a header',
      () => ({
        files,
        change: withContent(map, (xml) => xml.replace('LfhSize="', 'LfhSize="1')),
      }),
    ],
    [
      'msix-block-map-differs',
      'with another hash of a whole file',
      () => ({
        files,
        change: withContent(map, (xml) => xml.replace(/FileHash Hash="[^"]{4}/, 'FileHash Hash="AAAA')),
      }),
    ],
    [
      'msix-block-map-differs',
      'with too few blocks',
      () => ({
        files,
        change: withContent(map, (xml) => xml.replace(/<Block [^>]*>/, '')),
      }),
    ],
    [
      'msix-manifest-differs',
      'with a file without a content type',
      () => ({
        files,
        change: withContent(types, (xml) => xml.replace('Extension="png"', 'Extension="jpg"')),
      }),
    ],
    [
      'msix-manifest-differs',
      'with a malformed escape in its content types',
      () => ({
        files,
        change: withContent(types, (xml) => xml.replace('/AppxBlockMap', '/Appx%zz').replace('"xml"', '"x"')),
      }),
    ],
  ];
  for (const [code, what, options] of refused)
    it(`${code}: ${what}`, async () => {
      used = 0;
      await assert.rejects(sign(build(options())), { code });
      assert.equal(used, 0);
    });

  const bundled = (change: (manifest: string) => string): Promise<Buffer> =>
    sign(
      buildBundle([{ name: 'a.msix', content: build() }], {
        publisher,
        manifest: change(
          `<Bundle xmlns="http://schemas.microsoft.com/appx/2013/bundle"><Identity Name="A" Publisher="${attributeText(publisher)}" Version="1.0.0.0"/>` +
            `<Packages><Package FileName="a.msix" Offset="36" Size="${build().length}"/></Packages></Bundle>`,
        ),
      }),
    );
  it('msix-manifest-differs: a bundle whose packages lie elsewhere, are larger, or not there', async () => {
    assert.deepEqual(await problemsOf(await bundled((manifest) => manifest)), []);
    for (const [from, to] of [
      ['"36"', '"37"'],
      ['Size="', 'Size="1'],
      ['"a.msix"', '"b.msix"'],
    ] as const)
      await assert.rejects(
        bundled((manifest) => manifest.replace(from, to)),
        { code: 'msix-manifest-differs' },
      );
    // The packages of a flat bundle lie beside it.
    assert.deepEqual(await problemsOf(await bundled((manifest) => manifest.replace(/ Offset="36"/, ''))), []);
  });
});

describe('a signed package', () => {
  it('msix-publisher-differs: by another publisher is reported', async () => {
    const other = await openMsix(source(build({ publisher: 'CN=Other' }), 'a.msix'));
    const lax = Object.assign(other, { requireSigner: undefined, prepare: undefined });
    const { content } = await signProgram(lax, { key, timestamper: null });
    assert.deepEqual(await problemsOf(await bytesOf(content)), ['msix-publisher-differs']);
  });

  it('msix-block-map-differs: whose signer did not check it is reported', async () => {
    const wrong = await open(build({ files, change: withContent('b%C3%A4.txt', () => 'tExt') }));
    const { content } = await signProgram(Object.assign(wrong, { prepare: undefined }), {
      key,
      timestamper: null,
    });
    assert.deepEqual(await problemsOf(await bytesOf(content)), ['msix-block-map-differs']);
  });

  it('file-digest-differs: with a byte of a file, of the directory or of an end record changed', async () => {
    const signed = await sign(build());
    const at = [40, signed.indexOf('PK\x01\x02') + 12, signed.length - 18];
    for (const position of at) {
      const changed = Buffer.from(signed);
      changed.writeUInt8(changed.readUInt8(position) ^ 1, position);
      assert.notDeepEqual(await problemsOf(changed).catch(({ code }: { code: string }) => [code]), []);
    }
  });

  /** The signed package with other compressed bytes and headers of its signature. */
  async function withEntry(
    signed: Buffer,
    change: (local: Buffer, data: Buffer, central: Buffer) => [local: Buffer, data: Buffer, central: Buffer],
  ): Promise<Buffer> {
    const { pkg } = await open(signed);
    const entry = pkg.signature ?? assert.fail();
    const { directoryOffset } = pkg.archive.end;
    const centralAt = directoryOffset + pkg.archive.end.directorySize - entry.central.length;
    const [local, data, central] = change(
      Buffer.from(entry.local),
      Buffer.from(signed.subarray(entry.dataStart, entry.dataEnd)),
      Buffer.from(entry.central),
    );
    for (const [header, sizeAt] of [
      [local, 18],
      [central, 20],
    ] as const)
      header.writeUInt32LE(data.length, sizeAt);
    const end = Buffer.from(signed.subarray(centralAt + entry.central.length));
    const moved = entry.offset + local.length + data.length;
    const size = centralAt - directoryOffset + central.length;
    end.writeBigUInt64LE(BigInt(size), 40);
    end.writeBigUInt64LE(BigInt(moved), 48);
    end.writeBigUInt64LE(BigInt(moved + size), 64);
    const directory = signed.subarray(directoryOffset, centralAt);
    return Buffer.concat([signed.subarray(0, entry.offset), local, data, directory, central, end]);
  }

  it('carries nothing in the entry of its signature', async () => {
    const signed = await sign(build());
    assert.deepEqual(await problemsOf(await withEntry(signed, (...same) => same)), []);
    const { parts: _, ...file } = await open(signed);
    const content = Buffer.concat([Buffer.from('PKCX'), file.signatures[0] ?? assert.fail()]);
    const inBlocks = Buffer.concat(
      Array.from({ length: Math.ceil(content.length / 10) }, (_each, at) =>
        deflateRawSync(content.subarray(10 * at, 10 * at + 10), { finishFlush: 2 }),
      ).concat(Buffer.from([3, 0])),
    );
    assert.deepEqual(
      await problemsOf(await withEntry(signed, (local, _data, central) => [local, inBlocks, central])),
      ['msix-signature-deflate'],
    );
    const time = (header: Buffer, at: number): Buffer => (header.writeUInt32LE(0xffffffff, at), header);
    assert.deepEqual(
      await problemsOf(
        await withEntry(signed, (local, data, central) => [time(local, 10), data, time(central, 12)]),
      ),
      ['msix-signature-time'],
    );
    const attributes = (central: Buffer): Buffer => (central.writeUInt32LE(0x1234, 38), central);
    assert.deepEqual(
      await problemsOf(await withEntry(signed, (local, data, central) => [local, data, attributes(central)])),
      ['msix-signature-headers'],
    );
  });

  it('is the same with another time in the headers of its signature, which is not noticed', async () => {
    const signed = await sign(build());
    const time = (header: Buffer, at: number): Buffer => (header.writeUInt32LE(0x5cae6bc3, at), header);
    const changed = await withEntry(signed, (local, data, central) => [
      time(local, 10),
      data,
      time(central, 12),
    ]);
    assert.deepEqual(await problemsOf(changed), []);
  });

  it('is opened with a signature that is stored, as other tools may do', async () => {
    const signed = await sign(build());
    const content = Buffer.concat([Buffer.from('PKCX'), (await open(signed)).signatures[0] ?? assert.fail()]);
    const stored = (header: Buffer, at: number): Buffer => (header.writeUInt16LE(0, at), header);
    const changed = await withEntry(signed, (local, _data, central) => [
      stored(local, 8),
      content,
      stored(central, 10),
    ]);
    assert.deepEqual(await problemsOf(changed), []);
  });
});
