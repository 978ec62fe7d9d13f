import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { crc32, deflateRawSync } from 'node:zlib';
import { compareZips } from '../../../src/lib/zip/compare-zips.ts';
import { isZip, isZipSource } from '../../../src/lib/zip/end-of-central-directory.ts';
import { rewriteZip } from '../../../src/lib/zip/rewrite-zip.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import {
  contentOf,
  descriptor,
  forge,
  read,
  run,
  sample,
  save,
  temporaryFolder,
  virtualEntry,
  zip64End,
  type Forged,
} from './zips.ts';

const folder = await temporaryFolder();

const A: Forged = { name: 'a.exe', content: sample(5000) };
const B: Forged = { name: 'b.txt', content: 'hello', method: 0 };
const SCRIPT = Buffer.from('#!/usr/bin/env python3\n');
const END = 'PK\x05\x06';

/** A whole entry that is not in the directory. */
const HIDDEN = forge([{ name: 'a.exe', content: 'evil' }]).subarray(0, 39);

/** More entries than 16 bits can count, and no zip64. */
const WRAPPED = forge(Array.from({ length: 65_541 }, (_, n) => ({ name: `f/${n}`, method: 0 })));

/** The last 20 bytes of the directory begin like a zip64 locator. */
const LOCATOR = `PK\x06\x07${'\0'.repeat(16)}`;

const TAKEN: Record<string, Buffer> = {
  'zeros between entries': forge([A, { ...B, gap: Buffer.alloc(4096) }]),
  'zeros before the directory': forge([A, B], { beforeDirectory: Buffer.alloc(9) }),
  'zeros before the first entry': forge([{ ...A, gap: Buffer.alloc(512) }, B]),
  'a megabyte of zeros': forge([A, { ...B, gap: Buffer.alloc(1024 * 1024 + 3) }]),
  'a virtual entry between entries': forge([A, { ...B, gap: virtualEntry(100) }]),
  'a virtual entry before the first, one before the directory': forge([{ ...A, gap: virtualEntry(0) }, B], {
    beforeDirectory: virtualEntry(65_535),
  }),
  'virtual entries and zeros by turns, over several reads': forge([
    A,
    {
      ...B,
      gap: Buffer.concat(
        Array.from({ length: 200 }, (_, n) => Buffer.concat([virtualEntry(n * 97), Buffer.alloc(n % 7)])),
      ),
    },
  ]),
  'a script before it': forge([{ ...A, gap: SCRIPT }, B]),
  'a long script that speaks of PK': forge([
    { ...A, gap: Buffer.concat([SCRIPT, Buffer.from('echo PK PK1 PK_\n'.repeat(50_000))]) },
    B,
  ]),
  'zeros behind it, as bsdtar writes to a pipe': Buffer.concat([forge([A, B]), Buffer.alloc(10_239)]),
  'zeros behind its comment': Buffer.concat([forge([A, B], { comment: 'made by a test' }), Buffer.alloc(7)]),
  'a zip in it, stored, with sizes behind it': forge([
    A,
    { name: 'in.zip', content: forge([A, B]), method: 0, flags: 0x808 },
  ]),
  'what looks like an entry in deflated data, with sizes behind it': forge([
    A,
    { name: 'in.zip', content: forge([B]), data: deflateRawSync(forge([B]), { level: 0 }), flags: 0x808 },
  ]),
  'the mark of a split zip': forge([{ ...A, gap: Buffer.from('PK\x07\x08') }, B]),
  'the mark of a zip that was not split in the end': forge([{ ...A, gap: Buffer.from('PK00') }, B]),
  'what looks like a zip64 locator in an entry comment': forge([A, { ...B, comment: LOCATOR }]),
};

const COUNT = 'import sys,zipfile; print(len(zipfile.ZipFile(sys.argv[1]).infolist()))';

describe('a zip may have', () => {
  for (const [what, bytes] of Object.entries(TAKEN))
    it(`${what}, and keeps it`, async () => {
      const archive = await read(bytes);
      assert.ok(await isZipSource(new BufferSource(bytes, 'x')));
      const path = archive.entries[0]?.path ?? '';
      const output = join(folder, 'rewritten.zip');
      const source = new BufferSource(sample(7000, 3), path);
      await rewriteZip(archive, new Map([[path, { source }]]), output);
      const signed = await read(await readFile(output));
      assert.equal((await compareZips(archive, signed)).length, 1);
      assert.deepEqual(await contentOf(signed, path), sample(7000, 3));
    });

  it('more entries than 16 bits can count', async () => {
    const archive = await read(WRAPPED);
    assert.equal(archive.entries.length, 65_541);
    assert.deepEqual(await compareZips(archive, archive), []);
    const { stdout } = await run('python3', ['-c', COUNT, await save(folder, 'wrapped.zip', WRAPPED)]);
    assert.equal(Number(stdout), 65_541);
  });

  it('any of these, as Python and unzip see it', async () => {
    for (const [what, bytes] of Object.entries(TAKEN)) {
      const path = await save(folder, 'taken.zip', bytes);
      const { entries } = await read(bytes);
      const { stdout } = await run('python3', ['-c', COUNT, path]);
      assert.equal(Number(stdout), entries.length, what);
      // A warning is an exit status of 1.
      const tested = await run('unzip', ['-tqq', path]).catch((error: { code: number }) => error);
      assert.ok(!('code' in tested) || tested.code === 1, what);
    }
  });
});

/** An entry whose data seems to end early, with a descriptor, to a reader that streams; the rest holds another entry. */
function streamed(method: number, between = Buffer.alloc(0), { wide = false, signed = true } = {}): Buffer {
  const content = Buffer.from('innocent');
  const packed = method === 8 ? deflateRawSync(content) : content;
  const end = descriptor(crc32(content), packed.length, content.length, { wide, signed });
  const data = Buffer.concat([packed, end, between, HIDDEN]);
  // If stored, all of it is content; if deflated, what follows the stream is ignored.
  const entry = method === 8 ? { content, data } : { content: data };
  return forge([{ ...entry, name: 'data.bin', method, flags: 0x808 }, B]);
}

const REJECTED: Record<string, Record<string, Buffer>> = {
  'zip-entry-unlisted ': {
    'in the data of a stored entry, behind a descriptor': streamed(0),
    'behind a descriptor of 64 bits': streamed(0, Buffer.alloc(0), { wide: true }),
    'behind a descriptor and something else': streamed(0, Buffer.from('junk')),
    'behind the end of a deflate stream': streamed(8),
    'behind a deflate stream and an unsigned descriptor': streamed(8, Buffer.from('x'), { signed: false }),
    'behind a megabyte of something else': streamed(8, Buffer.alloc(1024 * 1024, 1)),
    'in data of a method that cannot be read': forge([
      { name: 'a', content: Buffer.concat([Buffer.from('x'), HIDDEN]), method: 93, flags: 0x808 },
    ]),
  },
  'zip-gap': {
    'a byte between entries': forge([A, { ...B, gap: Buffer.from('x') }]),
    'a byte before the directory': forge([A, B], { beforeDirectory: Buffer.from('x') }),
    'text behind zeros': forge([A, { ...B, gap: Buffer.concat([Buffer.alloc(300_000), Buffer.from('x')]) }]),
    'a signing block of an Android package': forge([A, B], {
      beforeDirectory: Buffer.from('\0\0\0\0\0\0\0\x20APK Sig Block 42'),
    }),
    'a data descriptor that no flag announces': forge([
      A,
      { ...B, gap: Buffer.from('PK\x07\x08123412341234') },
    ]),
    'a directory of another zip': forge([A, B], { beforeDirectory: forge([B]).subarray(40) }),
  },
  'zip-entry-unlisted': {
    'right behind an entry': forge([A, { ...B, gap: HIDDEN }]),
    'after one byte': forge([A, { ...B, gap: Buffer.concat([Buffer.of(0), HIDDEN]) }]),
    'after a byte that is something': forge([A, { ...B, gap: Buffer.concat([Buffer.of(1), HIDDEN]) }]),
    'before the directory': forge([A, B], { beforeDirectory: Buffer.concat([Buffer.of(0), HIDDEN]) }),
    'after a virtual entry': forge([A, { ...B, gap: Buffer.concat([virtualEntry(9), HIDDEN]) }]),
    'in the zeros of a virtual entry': forge([
      A,
      { ...B, gap: Buffer.concat([virtualEntry(HIDDEN.length).subarray(0, 30), HIDDEN]) },
    ]),
    'a virtual entry that reaches into the next': forge([A, { ...B, gap: virtualEntry(50).subarray(0, 60) }]),
    'a virtual entry with a name': forge([
      A,
      { ...B, gap: forge([{ name: 'x', method: 0 }]).subarray(0, 31) },
    ]),
    ...Object.fromEntries(
      [4, 6, 8, 10, 12, 14, 18, 22].map((at) => {
        const gap = virtualEntry(4);
        gap[at] = 1;
        return [`a virtual entry with something at ${at}`, forge([A, { ...B, gap }])];
      }),
    ),
  },
  'zip-prefix': {
    'a program': forge([{ ...A, gap: Buffer.from('MZ') }]),
    'anything before an empty zip': forge([], { beforeDirectory: Buffer.from('MZ') }),
    'an entry that no directory lists': forge([{ ...A, gap: HIDDEN }]),
    'zeros and then something': forge([{ ...A, gap: Buffer.from('\0\0\0\0x') }]),
    'a script that is not at the beginning': forge([{ ...A, gap: Buffer.from(' #!/bin/sh\n') }]),
    'the mark of a split zip, and more': forge([{ ...A, gap: Buffer.from('PK\x07\x08\0') }]),
    'another mark of that length': forge([{ ...A, gap: Buffer.from('PK\x06\x08') }]),
    ...Object.fromEntries(
      [
        END,
        ...['\x01\x02', '\x03\x04', '\x05\x05', '\x06\x06', '\x06\x07', '\x06\x08', '\x07\x08', '00'].map(
          (mark) => `PK${mark}`,
        ),
      ].map((record) => [
        `a script that holds ${JSON.stringify(record)}`,
        forge([{ ...A, gap: Buffer.concat([SCRIPT, Buffer.from(record), Buffer.alloc(3)]) }]),
      ]),
    ),
    'a script with a record where two reads meet': forge([
      { ...A, gap: Buffer.concat([SCRIPT, Buffer.alloc(256 * 1024 - SCRIPT.length - 2, 35), HIDDEN]) },
    ]),
  },
  'zip-trailing-bytes': {
    'zeros and then something': Buffer.concat([forge([A]), Buffer.from('\0\0\0x')]),
    'something and then zeros': Buffer.concat([forge([A]), Buffer.from('x\0\0\0')]),
  },
  'zip-end-ambiguous': {
    'a second end record in the comment, zeros behind it': Buffer.concat([
      forge([A], { comment: forge([]) }),
      Buffer.alloc(30),
    ]),
    'a second end record behind the first, with zeros between them': forge([A], {
      comment: Buffer.concat([Buffer.alloc(4), forge([])]),
    }),
  },
  'zip-directory-damaged': {
    'one more entry than the count says': forge([A, B], { end: (end) => end.writeUInt32LE(0x0001_0001, 8) }),
    'a wrapped count that is one too few': forge(
      Array.from({ length: 65_541 }, (_, n) => ({ name: `${n}`, method: 0 })),
      { end: (end) => end.writeUInt32LE(0x0004_0004, 8) },
    ),
    'a zip64 end record that some readers would find, in a comment': forge([
      A,
      { ...B, comment: zip64End(0, 0, 0).toString('latin1') },
    ]),
  },
};

describe('a zip is refused for bytes outside of its entries', () => {
  for (const [code, cases] of Object.entries(REJECTED))
    for (const [what, bytes] of Object.entries(cases))
      it(`${code.trim()}: ${what}`, () =>
        assert.rejects(read(bytes), { name: 'SignpipeError', kind: 'invalid', code: code.trim() }));

  it('zip-too-many-entries: more than the limit by their real number', () =>
    assert.rejects(read(WRAPPED, { entries: 1000 }), { code: 'zip-too-many-entries' }));
});

describe('a zip is recognised', () => {
  const known = (bytes: Buffer): Promise<boolean> => isZipSource(new BufferSource(bytes, 'x'));

  it('by its first bytes, split or not', () => {
    assert.ok(isZip(Buffer.from('PK00PK\x03\x04')));
    assert.ok(!isZip(Buffer.from('PK00PK00')));
  });

  it('by its end if it begins with a script', async () => {
    assert.ok(!(await known(SCRIPT)));
    assert.ok(
      !(await known(
        Buffer.concat([SCRIPT, Buffer.from(`${END} and more than the end record has room for`)]),
      )),
    );
    assert.ok(!(await known(Buffer.from(`#!${END}`))));
    assert.ok(!(await known(Buffer.from('#'))));
    assert.ok(!(await known(Buffer.alloc(0))));
  });
});
