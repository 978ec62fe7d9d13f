import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { buildIndirectData } from '../../../../src/engine/authenticode/indirect-data.ts';
import { signProgram, type SignOptions } from '../../../../src/engine/authenticode/sign.ts';
import { verifySignableFile } from '../../../../src/engine/authenticode/verify.ts';
import { peImageData, readPeContent } from '../../../../src/engine/formats/pe/image-data.ts';
import { hashPages } from '../../../../src/engine/formats/pe/page-hashes.ts';
import { verifyPageHashes } from '../../../../src/engine/formats/pe/verify-page-hashes.ts';
import { openPe, type PeFile } from '../../../../src/engine/formats/pe/pe-file.ts';
import type { SignableFile } from '../../../../src/engine/formats/signable-file.ts';
import { parseSignature } from '../../../../src/engine/authenticode/signature.ts';
import type { ByteSource } from '../../../../src/lib/bytes/byte-source.ts';
import { createTestPki, testSigningKey, type TestPki } from '../../../../src/sandbox/certificates.ts';
import { buildPe, filler, peLayout, type PeOptions } from '../../../fixtures/pe.ts';
import { bytesOf, inFolder, must, openBytes, source, tool, writeIdentity } from '../../authenticode/tools.ts';

const open = (bytes: Buffer): Promise<PeFile> => openPe(source(bytes));

/** Two sections: one of two pages and a part, and one of a part of a page. */
const SECTIONS = [
  { name: '.text', data: filler(2 * 4096 + 600) },
  { name: '.data', data: filler(100, 5) },
];
const PROGRAM: PeOptions = { fileAlignment: 1024, sections: SECTIONS, overlay: filler(1000, 9) };

/** An entry, by the rules and nothing else: the bytes are followed by zeros up to 4096 bytes of the file. */
function entry(offset: number, bytes: Buffer, size = bytes.length): Buffer {
  const at = Buffer.alloc(4);
  at.writeUInt32LE(offset);
  const zeros = Buffer.alloc(4096 - size);
  return Buffer.concat([at, createHash('sha256').update(bytes).update(zeros).digest()]);
}

const LAST = Buffer.concat([Buffer.from('002c0000', 'hex'), Buffer.alloc(32)]);

/** The table of PROGRAM, whose headers have 1024 bytes. */
function expectedTable(bytes: Buffer): Buffer {
  const { checksum, certificateEntry } = peLayout(PROGRAM);
  const headers = [
    bytes.subarray(0, checksum),
    bytes.subarray(checksum + 4, certificateEntry),
    bytes.subarray(certificateEntry + 8, 1024),
  ];
  return Buffer.concat([
    entry(0, Buffer.concat(headers), 1024),
    ...[1024, 5120].map((at) => entry(at, bytes.subarray(at, at + 4096))),
    entry(9216, bytes.subarray(9216, 10240)),
    entry(10240, bytes.subarray(10240, 11264)),
    LAST,
  ]);
}

describe('page hashes are written', () => {
  it('of the headers without the rewritten fields, and of each page of each section, not of the rest', async () => {
    const bytes = buildPe(PROGRAM);
    assert.deepEqual(await hashPages(await open(bytes)), expectedTable(bytes));
  });

  it('in the same way over a file that is signed already', async () => {
    const bytes = buildPe(PROGRAM);
    const signed = await bytesOf(await (await open(bytes)).embed(Buffer.from('3003020101', 'hex')));
    assert.deepEqual(await hashPages(await open(signed)), expectedTable(bytes));
  });

  it('if there are no sections, of the headers alone', async () => {
    const table = await hashPages(await open(buildPe({ sections: [] })));
    assert.equal(table.length, 2 * 36);
  });

  const { optionalHeader, sectionTable } = peLayout(PROGRAM);
  const poked = (at: number, value: number): Buffer => {
    const bytes = buildPe(PROGRAM);
    bytes.writeUInt32LE(value, at);
    return bytes;
  };
  for (const [what, bytes] of [
    ['sections aligned to 512 bytes in memory', poked(optionalHeader + 32, 512)],
    ['sections aligned to 8192 bytes in memory', poked(optionalHeader + 32, 8192)],
    ['headers of more than a page', poked(optionalHeader + 60, 4097)],
    ['headers that claim less than they have', poked(optionalHeader + 60, 64)],
    ['a section that begins in the headers', poked(sectionTable + 20, 512)],
    ['sections that overlap', poked(sectionTable + 40 + 20, 1024)],
    ['a section that begins at no multiple of 512', poked(sectionTable + 40 + 20, 10244)],
    ['a section with more pages in the file than in memory', poked(sectionTable + 8, 2 * 4096)],
    ['a section without a size in memory', poked(sectionTable + 8, 0)],
  ] as const)
    it(`page-hashes-layout: ${what}`, async () => {
      const file = await open(bytes);
      await assert.rejects(hashPages(file), { code: 'page-hashes-layout' });
      await file.contentToSign('sha256', Buffer.alloc(32));
    });

  it('page-hashes-too-large: a program of more than 900 MB, without reading it', async () => {
    const bytes = buildPe();
    bytes.writeUInt32LE(0x40000000, sectionTable + 8);
    bytes.writeUInt32LE(0x40000000, sectionTable + 16);
    const vast: ByteSource = {
      size: 0x50000000,
      name: 'program.exe',
      read: (offset, length) =>
        Promise.resolve(Buffer.concat([bytes.subarray(offset, offset + length)], length)),
    };
    await assert.rejects(hashPages(await openPe(vast)), { code: 'page-hashes-too-large' });
  });
});

describe('page hashes are checked', () => {
  const bytes = buildPe(PROGRAM);
  const table = expectedTable(bytes);
  const check = async (some: Buffer, program = bytes): Promise<void> =>
    verifyPageHashes(await open(program), { hash: 'sha256', table: some }, 'it');
  const without = (entries: number): Buffer =>
    Buffer.concat([table.subarray(0, entries * 36), table.subarray((entries + 1) * 36)]);
  const changed = (at: number, value: number): Buffer => {
    const copy = Buffer.from(table);
    copy.writeUInt32LE(value, at);
    return copy;
  };

  it('and hold', () => check(table));

  it('and hold if they say where the last page ends, or if a page goes on up to the next one', async () => {
    await check(changed(5 * 36, 10240 + 4096));
    const spread = buildPe(PROGRAM);
    // The first section loses its last 512 bytes, which are then those of no section.
    spread.writeUInt32LE(2 * 4096 + 512, peLayout(PROGRAM).sectionTable + 16);
    const own = Buffer.from(await hashPages(await open(spread)));
    await check(own, spread);
    entry(9216, spread.subarray(9216, 10240)).copy(own, 3 * 36);
    await check(own, spread);
  });

  for (let page = 0; page < 5; page += 1)
    it(`page-hashes-differ: the hash of page ${page + 1} changed, or its bytes did`, async () => {
      await assert.rejects(check(changed(page * 36 + 12, 1)), { code: 'page-hashes-differ' });
      const other = Buffer.from(bytes);
      other.writeUInt8(0xff, table.readUInt32LE(page * 36) + 8);
      await assert.rejects(check(table, other), { code: 'page-hashes-differ' });
    });

  for (const [what, some] of [
    ['no page of the headers', without(0)],
    ['a page of a section missing', without(2)],
    ['the last page missing', without(4)],
    [
      'no last entry: that of the last page takes its place',
      Buffer.concat([table.subarray(0, 4 * 36), Buffer.alloc(36).fill(0xff, 0, 4)]),
    ],
    ['an end before the sections’ end', changed(5 * 36, 10241)],
    ['only the last entry', table.subarray(5 * 36)],
  ] as const)
    it(`page-hashes-incomplete: ${what}`, () =>
      assert.rejects(check(some), { code: 'page-hashes-incomplete' }));

  for (const [what, some] of [
    ['nothing', Buffer.alloc(0)],
    ['less than an entry', table.subarray(0, 35)],
    ['a part of an entry more', Buffer.concat([table, Buffer.alloc(4)])],
    ['the table of another algorithm', Buffer.alloc(6 * 24)],
    [
      'entries in another order',
      Buffer.concat([table.subarray(36, 72), table.subarray(0, 36), table.subarray(72)]),
    ],
    ['an entry twice', Buffer.concat([table.subarray(0, 36), table])],
    ['a page behind the file’s end', changed(4 * 36, bytes.length)],
    ['a last entry with a hash', changed(5 * 36 + 4, 1)],
  ] as const)
    it(`page-hashes-malformed: ${what}`, () =>
      assert.rejects(check(some), { code: 'page-hashes-malformed' }));

  it('also of bytes behind the sections, but page-hashes-malformed if there are more hashes than pages', async () => {
    const withMore = (more: number): Buffer =>
      Buffer.concat([
        table.subarray(0, 5 * 36),
        ...Array.from({ length: more }, (_, index) => {
          const at = 11264 + 100 * index;
          return entry(at, bytes.subarray(at, at + 100));
        }),
        Buffer.alloc(36).fill(0xff, 0, 4),
      ]);
    const lastOf = (some: Buffer, more: number): Buffer => {
      const at = 11264 + 100 * (more - 1);
      entry(at, bytes.subarray(at)).copy(some, some.length - 72);
      return some;
    };
    await check(lastOf(withMore(3), 3));
    await assert.rejects(check(lastOf(withMore(4), 4)), { code: 'page-hashes-malformed' });
  });

  it('in bounded time if thousands of sections share the same bytes', async () => {
    const many = Array.from({ length: 3000 }, () => ({ name: 'x', data: filler(0) }));
    const shared = buildPe({ sections: many, overlay: filler(4 * 1024 * 1024) });
    const at = peLayout().sectionTable;
    for (let index = 0; index < 3000; index += 1) {
      shared.writeUInt32LE(4 * 1024 * 1024, at + 40 * index + 16);
      shared.writeUInt32LE(shared.length - 4 * 1024 * 1024, at + 40 * index + 20);
    }
    await assert.rejects(check(table, shared), { code: 'page-hashes-incomplete' });
  });
});

describe('a program signed with page hashes', () => {
  let pki: TestPki;
  before(async () => {
    pki = await createTestPki({ key: 'p256', intermediate: false });
  });

  const signed = async (file: SignableFile, options: Partial<SignOptions> = {}): Promise<Buffer> => {
    const key = testSigningKey(pki.codeSigning);
    return bytesOf(
      (await signProgram(file, { key, timestamper: null, pageHashes: true, ...options })).content,
    );
  };

  it('is intact, by our verifier and by osslsigncode, which computes the same page hashes', () =>
    inFolder(async (folder) => {
      const bytes = await signed(await openBytes(buildPe(PROGRAM)));
      const report = await verifySignableFile(await openBytes(bytes));
      assert.equal(report.status, 'intact');
      const step = report.signatures[0]?.checks.find(({ name }) => name === 'file-digest');
      assert.equal(
        step?.detail,
        'the file has the sha256 digest and the page hashes (sha256) that was signed',
      );
      await writeFile(join(folder, 'program.exe'), bytes);
      const { text } = await tool('osslsigncode', 'verify', '-in', join(folder, 'program.exe'));
      assert.match(text, /^Page hash algorithm {2}: SHA256$/m);
      assert.match(text, /^Calculated page hash : 00000000[0-9A-F]{56} \.\.\.$/m);
      assert.doesNotMatch(text, /MISMATCH/);
    }));

  it('by osslsigncode is intact for us, and has the table that we write', () =>
    inFolder(async (folder) => {
      await writeIdentity(folder, 'key', pki.codeSigning);
      await writeFile(join(folder, 'program.exe'), buildPe(PROGRAM));
      const at = (name: string): string => join(folder, name);
      const key = ['-certs', at('key.crt'), '-key', at('key.key')];
      await must(
        'osslsigncode',
        'sign',
        '-ph',
        '-h',
        'sha256',
        ...key,
        '-in',
        at('program.exe'),
        '-out',
        at('out'),
      );
      const theirs = await openBytes(await readFile(at('out')));
      assert.equal((await verifySignableFile(theirs)).status, 'intact');
      const { content } = parseSignature(theirs.signatures[0] ?? assert.fail(), 'theirs');
      const [hashes] = readPeContent(content, 'theirs').pageHashes;
      assert.deepEqual(hashes, { hash: 'sha256', table: await hashPages(await open(buildPe(PROGRAM))) });
    }));

  it('page-hashes-differ: is bad if a page hash is wrong although the digest is right', async () => {
    const file = await open(buildPe(PROGRAM));
    const table = await hashPages(file);
    table.writeUInt8(table.readUInt8(50) ^ 1, 50);
    const wrong: SignableFile = Object.assign(Object.create(file) as PeFile, {
      contentToSign: (hash: 'sha256', digest: Buffer) =>
        Promise.resolve(buildIndirectData({ ...peImageData(table), hash, digest })),
    });
    const { status, problems } = await verifySignableFile(await openBytes(await signed(wrong)));
    assert.deepEqual([status, problems.map(({ code }) => code)], ['bad', ['page-hashes-differ']]);
  });
});
