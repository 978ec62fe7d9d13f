import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { crc32, deflateRawSync } from 'node:zlib';
import { isZip } from '../../../src/lib/zip/end-of-central-directory.ts';
import { readArchive, requireAllOpenable } from '../../../src/lib/zip/read-zip.ts';
import type { ArchiveLimits } from '../../../src/lib/zip/limits.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import {
  contentOf,
  descriptor,
  entryOf,
  extra,
  forge,
  LIMITS,
  read,
  sample,
  uint64,
  zip64End,
  type Forged,
} from './zips.ts';

const A: Forged = { name: 'bin/a.exe', content: sample(5000) };
const B: Forged = { name: 'bin/b.txt', content: 'hello', method: 0 };
const GOOD = forge([A, B], { comment: 'made by a test' });
const LINK = 0o120777 * 65536;

const wide = (header: Buffer, at: number): void => void header.fill(0xff, at, at + 8);

/** A zip64 archive of one entry with all three values in the zip64 field. */
function zip64Archive(data = Buffer.alloc(0)): Buffer {
  const content = sample(1000);
  const packed = deflateRawSync(content);
  const entry: Forged = {
    name: 'a.exe',
    content,
    localExtra: extra(1, uint64(content.length, packed.length)),
    centralExtra: extra(1, uint64(content.length, packed.length, 0)),
    local: (header) => wide(header, 18),
    central: (header) => {
      wide(header, 20);
      header.fill(0xff, 42, 46);
    },
  };
  const plain = forge([entry]);
  const offset = plain.readUInt32LE(plain.length - 6);
  const size = plain.readUInt32LE(plain.length - 10);
  return forge([entry], {
    afterDirectory: zip64End(1, size, offset, data),
    end: (record) => record.fill(0xff, 8, 20),
  });
}

describe('a sound zip', () => {
  it('gives its entries with paths, sizes, methods and content', async () => {
    const archive = await read(GOOD);
    assert.deepEqual(
      archive.entries.map((entry) => [entry.path, entry.method, entry.size, entry.directory]),
      [
        ['bin/a.exe', 8, 5000, false],
        ['bin/b.txt', 0, 5, false],
      ],
    );
    assert.deepEqual(await contentOf(archive, 'bin/a.exe'), A.content);
    assert.equal(String(await contentOf(archive, 'bin/b.txt')), 'hello');
  });

  it('may be empty', async () => {
    assert.equal((await read(forge([]))).entries.length, 0);
  });

  it('is recognised by its first bytes, also if it is empty', () => {
    assert.ok(isZip(GOOD));
    assert.ok(isZip(forge([])));
    assert.ok(!isZip(Buffer.from('MZ\x90\0')));
    assert.ok(!isZip(Buffer.from('PK')));
  });

  for (const signed of [true, false])
    for (const wide of [true, false])
      it(`may have data descriptors ${signed ? 'with' : 'without'} signature, ${wide ? 8 : 4} byte sizes`, async () => {
        const content = sample(3000);
        const data = deflateRawSync(content);
        const first = (await read(forge([{ name: 'x', content }]))).entries[0];
        const tail = descriptor(first?.crc32 ?? 0, data.length, content.length, { signed, wide });
        const archive = await read(forge([{ name: 'x', content, flags: 0x808, descriptor: tail }, B]));
        assert.deepEqual(archive.entries[0]?.descriptor, { signed, wide });
        assert.deepEqual(await contentOf(archive, 'x'), content);
      });

  it('may be zip64, with extensible data in its end record', async () => {
    for (const data of [Buffer.alloc(0), Buffer.from('extensible')]) {
      const archive = await read(zip64Archive(data));
      assert.equal(entryOf(archive, 'a.exe').size, 1000);
      assert.deepEqual(await contentOf(archive, 'a.exe'), sample(1000));
    }
  });

  it('may hold links and foreign methods, which are not opened', async () => {
    const entries = [
      { ...B, name: 'link', attributes: LINK },
      { ...A, method: 12 },
    ];
    const archive = await read(forge(entries));
    await assert.rejects(archive.open(entryOf(archive, 'link')), { code: 'zip-entry-not-a-file' });
    await assert.rejects(archive.open(entryOf(archive, 'bin/a.exe')), { code: 'zip-method-unsupported' });
  });

  it('may name entries in code page 437, in UTF-8, in a Unicode Path field, and below ./', async () => {
    const plain = Buffer.from('na?ve.txt');
    const field = unicodePath('na?ve.txt', 'naïve.txt');
    const archive = await read(
      forge([
        { name: Buffer.from([0x81, 0x2e, 0x74]), flags: 0 },
        { name: 'größe.exe' },
        { name: plain, flags: 0, localExtra: field },
        { name: './sub/a.exe' },
      ]),
    );
    assert.deepEqual(
      archive.entries.map((entry) => entry.path),
      ['ü.t', 'größe.exe', 'naïve.txt', 'sub/a.exe'],
    );
  });

  it('with thousands of entries is read in few reads', async () => {
    const bytes = forge(
      Array.from({ length: 3000 }, (_, n) => ({ name: `f/${n}`, content: sample(300, n + 1) })),
    );
    let reads = 0;
    const inner = new BufferSource(bytes, 'many.zip');
    const counting = {
      size: inner.size,
      name: inner.name,
      read: (offset: number, length: number) => {
        reads++;
        return inner.read(offset, length);
      },
    };
    assert.equal((await readArchive(counting, LIMITS)).entries.length, 3000);
    assert.ok(reads < 10, `${reads} reads`);
  });
});

/** Info-ZIP's Unicode Path field beside the name `plain`. */
function unicodePath(plain: string, path: string): Buffer {
  const head = Buffer.alloc(5, 1);
  head.writeUInt32LE(crc32(plain), 1);
  return extra(0x7075, Buffer.concat([head, Buffer.from(path)]));
}

/** Claims 20 bytes of data instead of 5. */
const bigger = (at: number) => (header: Buffer) => {
  header.writeUInt32LE(20, at);
  header.writeUInt32LE(20, at + 4);
};

/** Claims a number of entries, on this disk and in all. */
const counting = (entries: number) => (end: Buffer) => {
  end.writeUInt16LE(entries, 8);
  end.writeUInt16LE(entries, 10);
};

/** The reject cases by error code. */
const REJECTED: Record<string, Record<string, Buffer | [Buffer, Partial<ArchiveLimits>]>> = {
  'zip-not-a-zip': { nothing: Buffer.alloc(0), text: Buffer.from('x'.repeat(500)) },
  'zip-truncated': {
    'the end is missing': GOOD.subarray(0, -30),
    'the last byte is missing': GOOD.subarray(0, -1),
    'the head is missing': forge([A], { end: (end) => end.writeUInt32LE(99_999, 16) }),
  },
  'zip-trailing-bytes': { 'behind the comment': Buffer.concat([GOOD, Buffer.from('x')]) },
  'zip-end-ambiguous': {
    'an archive in the comment': forge([A], { comment: forge([]) }),
    'a stray end signature in the comment': forge([A], {
      comment: Buffer.from(`PK\x05\x06${'x'.repeat(40)}`),
    }),
  },
  'zip-prefix': { 'offsets not adjusted': Buffer.concat([Buffer.from('#!/bin/sh\n'), GOOD]) },
  'zip-multi-disk': {
    'end record': forge([A], { end: (end) => end.writeUInt16LE(1, 4) }),
    entry: forge([{ ...A, central: (header) => header.writeUInt16LE(1, 34) }]),
  },
  'zip-directory-damaged': {
    'bytes behind it': forge([A], { afterDirectory: Buffer.from('hidden') }),
    'no entry where one should be': forge([{ ...A, central: (header) => header.writeUInt32LE(7, 0) }]),
    'fewer entries than it has bytes for': forge([A, B], { end: counting(1) }),
    'more entries than it has': forge([A], { end: counting(2) }),
    'an entry longer than it': forge([{ ...A, central: (header) => header.writeUInt16LE(60_000, 32) }]),
    'a zip64 locator to nowhere': forge([A], { afterDirectory: zip64End(1, 0, 10_000).subarray(-20) }),
  },
  'zip-headers-disagree': {
    name: forge([{ ...A, local: (header) => header.writeUInt16LE(8, 26) }]),
    method: forge([{ ...A, local: (header) => header.writeUInt16LE(0, 8) }]),
    flags: forge([{ ...A, local: (header) => header.writeUInt16LE(0, 6) }]),
    'CRC-32': forge([{ ...A, local: (header) => header.writeUInt32LE(1, 14) }]),
    'compressed size': forge([{ ...A, local: (header) => header.writeUInt32LE(1, 18) }]),
    'uncompressed size': forge([{ ...A, local: (header) => header.writeUInt32LE(1, 22) }]),
    'CRC-32 zero without a descriptor': forge([{ ...A, local: (header) => header.writeUInt32LE(0, 14) }]),
    'no local header there': forge([A, { ...B, local: (header) => header.writeUInt32LE(7, 0) }]),
    'no data descriptor': forge([{ ...A, flags: 0x808, descriptor: Buffer.alloc(0) }]),
    'another data descriptor': forge([{ ...A, flags: 0x808, descriptor: descriptor(1, 2, 3) }]),
    'two counts': forge([A], { end: (end) => end.writeUInt16LE(2, 8) }),
    'another Unicode name': forge([
      { name: 'plain.txt', localExtra: unicodePath('plain.txt', 'evil.exe'), centralExtra: Buffer.alloc(0) },
    ]),
    'zip64 field missing': forge([{ ...A, central: (header) => header.fill(0xff, 24, 28) }]),
    'zip64 field twice': forge([
      { ...A, localExtra: Buffer.concat([extra(1, uint64(1, 1)), extra(1, uint64(2, 2))]) },
    ]),
    'zip64 end record against end record': (() => {
      const bytes = zip64Archive();
      bytes.writeUInt16LE(7, bytes.length - 12);
      return bytes;
    })(),
  },
  'zip-entries-overlap': {
    'one local header for two entries': forge([
      B,
      { ...B, name: 'bin/c.txt', central: (h) => h.writeUInt32LE(0, 42) },
    ]),
    'data into the next entry': forge([{ ...B, local: bigger(18), central: bigger(20) }, A]),
    'an entry behind the directory': forge([A, { ...B, central: (h) => h.writeUInt32LE(999_999, 42) }]),
    'data into the directory': forge([{ ...B, local: bigger(18), central: bigger(20) }]),
  },
  'zip-entry-unlisted': {
    'between entries': forge([A, { ...B, gap: forge([{ name: 'evil.exe' }]) }]),
    'before the directory': forge([A], { beforeDirectory: forge([{ name: 'evil.exe' }]).subarray(0, 40) }),
  },
  'zip-entry-path-unsafe': Object.fromEntries(
    [
      ...['../a', 'a/../b', 'a/..', '/a', 'C:/a', 'c:a', '..\\a', 'a//b', '', 'a/.. /b', '.../a'],
      ...['a\0.exe', 'a\nb', 'a\x7f', 'a\u0085', 'gpj.\u202eexe', 'x'.repeat(5000)],
    ].map((name) => [JSON.stringify(name.slice(0, 20)), forge([{ name }])]),
  ),
  'zip-entry-path-unsafe ': {
    'invalid UTF-8': forge([{ name: Buffer.from([0x61, 0xc3, 0x28]) }]),
    'control characters in code page 437': forge([{ name: Buffer.from([0x61, 0x01]), flags: 0 }]),
    'an entry under a link': forge([{ name: 'd', content: '/etc', attributes: LINK }, { name: 'd/x' }]),
    'an entry under a file': forge([{ name: 'D/x' }, { name: 'd' }]),
  },
  'zip-entry-duplicate': {
    'the same name': forge([A, { ...B, name: A.name }]),
    'case alone differs': forge([A, { ...B, name: 'BIN/A.EXE' }]),
    'Unicode form alone differs': forge([{ name: 'é.exe' }, { name: 'e\u0301.exe' }]),
    'a leading ./': forge([A, { ...B, name: './bin/a.exe' }]),
    'a file and a folder': forge([{ name: 'x' }, { name: 'X/' }]),
  },
  'zip-entry-encrypted': {
    traditional: forge([{ ...A, flags: 0x801 }]),
    strong: forge([{ ...A, flags: 0x841 }]),
    AES: forge([{ ...A, method: 99 }]),
    'masked headers': forge([{ ...A, flags: 0x2800 }]),
  },
  'zip-archive-too-large': { '100 bytes allowed': [GOOD, { archive: 100 }] },
  'zip-too-many-entries': { '1 allowed': [GOOD, { entries: 1 }] },
};

describe('a zip is refused', () => {
  for (const [code, cases] of Object.entries(REJECTED))
    for (const [what, given] of Object.entries(cases))
      it(`${code.trim()}: ${what}`, async () => {
        const [bytes, limits] = Array.isArray(given) ? given : [given, {}];
        const refusal = { name: 'SignpipeError', kind: 'invalid', code: code.trim() };
        await assert.rejects(read(bytes, limits), refusal);
      });
});

/** An entry whose headers claim `size` bytes and this CRC-32, independent of its data. */
function claiming(data: Buffer, content: Buffer, size = content.length, crc?: number): Buffer {
  const claim = (at: number) => (header: Buffer) => {
    header.writeUInt32LE(size, at + 8);
    if (crc !== undefined) header.writeUInt32LE(crc, at);
  };
  return forge([{ name: 'a.exe', content, data, local: claim(14), central: claim(16) }]);
}

describe('content is refused as it is read', () => {
  const content = sample(2_000_000);
  const packed = deflateRawSync(content);
  const cases: Record<string, Record<string, Buffer>> = {
    'zip-entry-damaged': {
      'more bytes than declared': claiming(packed, content, 1_500_000),
      'fewer bytes than declared': claiming(packed, content, 2_500_000),
      'wrong CRC-32': claiming(packed, content, content.length, 12345),
      'no deflate stream': claiming(Buffer.alloc(70_000, 0xff), content),
      'deflate stream cut short': claiming(packed.subarray(0, -5), content),
      'deflate stream without an end': claiming(deflateRawSync(content, { finishFlush: 2 }), content),
      'wrong CRC-32, stored': forge([
        { ...B, name: 'a.exe', local: (h) => h.writeUInt32LE(9, 14), central: (h) => h.writeUInt32LE(9, 16) },
      ]),
    },
    'zip-entry-slack': {
      'a byte behind the deflate stream': claiming(Buffer.concat([packed, Buffer.alloc(1)]), content),
      'another stream behind it': claiming(Buffer.concat([packed, packed]), content),
      'megabytes behind it': claiming(Buffer.concat([packed, Buffer.alloc(3_000_000)]), content),
      'from a read boundary on': claiming(
        Buffer.concat([deflateRawSync(Buffer.alloc(10)), Buffer.alloc(1024 * 1024)]),
        Buffer.alloc(10),
      ),
    },
  };
  for (const [code, each] of Object.entries(cases))
    for (const [what, bytes] of Object.entries(each))
      it(`${code}: ${what}`, async () => {
        const archive = await read(bytes);
        await assert.rejects(contentOf(archive, 'a.exe'), { name: 'SignpipeError', kind: 'invalid', code });
      });

  it('zip-entry-too-large: only if it is opened', async () => {
    const archive = await read(GOOD, { entry: 4999 });
    const entry = archive.entries.find(({ size }) => size > 4999);
    assert.ok(entry);
    await assert.rejects(archive.open(entry), { code: 'zip-entry-too-large' });
  });

  it('zip-bomb: by the claimed sizes alone', async () => {
    const claim = (at: number) => (header: Buffer) => header.writeUInt32LE(0x7fffffff, at);
    const archive = await read(forge([{ ...A, local: claim(22), central: claim(24) }]));
    await assert.rejects(archive.open(entryOf(archive, A.name as string)), { code: 'zip-bomb' });
  });

  it('zip-bomb: many that are each small enough, if all are unpacked together', async () => {
    const zeros = Buffer.alloc(1024 * 1024);
    const archive = await read(forge([1, 2, 3].map((i) => ({ name: `${i}.exe`, content: zeros }))));
    const [one] = archive.entries;
    assert.ok(one);
    await archive.open(one);
    requireAllOpenable(archive.source, [one], archive.limits);
    assert.throws(() => requireAllOpenable(archive.source, archive.entries, archive.limits), {
      code: 'zip-bomb',
    });
  });

  it('zip-bomb: one entry among many others', async () => {
    const zeros = { name: 'a.exe', content: Buffer.alloc(4 * 1024 * 1024) };
    const archive = await read(forge([zeros, { name: 'rest', content: sample(1_000_000), method: 0 }]));
    await assert.rejects(archive.open(entryOf(archive, 'a.exe')), { code: 'zip-bomb' });
  });

  it('but its first bytes can be read, whatever its size', async () => {
    const archive = await read(forge([{ name: 'a.exe', content: Buffer.alloc(4 * 1024 * 1024) }]));
    assert.deepEqual(await archive.head(entryOf(archive, 'a.exe'), 4096), Buffer.alloc(4096));
  });

  it('and reading can stop midway', async () => {
    const archive = await read(forge([{ name: 'a.exe', content }]));
    for await (const chunk of await archive.open(entryOf(archive, 'a.exe'))) {
      assert.ok(chunk.length > 0);
      break;
    }
  });
});
