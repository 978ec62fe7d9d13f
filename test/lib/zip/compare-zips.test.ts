import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { crc32, deflateRawSync } from 'node:zlib';
import { compareZips } from '../../../src/lib/zip/compare-zips.ts';
import { rewriteZip } from '../../../src/lib/zip/rewrite-zip.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import {
  descriptor,
  entryOf,
  extra,
  forge,
  type Forged,
  type ForgedEnd,
  read,
  sample,
  temporaryFolder,
  virtualEntry,
  zip64End,
} from './zips.ts';

const folder = await temporaryFolder();

const CONTENT = sample(300, 1);
const SIGNED = Buffer.concat([CONTENT, Buffer.from('signature')]);
const LINK = 0o120777 * 65536;

/** The entries of the zip under attack: one program, and one of each other kind. */
function parts(
  program: Partial<Forged> = {},
): Record<'program' | 'stored' | 'streamed' | 'link' | 'odd', Forged> {
  return {
    program: {
      name: 'a.exe',
      content: CONTENT,
      comment: 'mine',
      localExtra: extra(0xcafe, Buffer.from('abc')),
      ...program,
    },
    stored: { name: 'data.bin', content: 'stored data', method: 0, gap: virtualEntry(10) },
    streamed: { name: 's.exe', content: CONTENT, flags: 0x808 },
    link: { name: 'link', content: 'a.exe', attributes: LINK, method: 0 },
    odd: { name: 'odd', content: 'in another method', method: 93 },
  };
}

const END: ForgedEnd = { comment: 'archive comment', beforeDirectory: Buffer.alloc(8) };
const original = read(forge(Object.values(parts()), END));

type Parts = ReturnType<typeof parts>;

/** The signed zip with one change. */
function signed(change: (all: Parts, end: ForgedEnd) => void, program: Partial<Forged> = {}): Buffer {
  const all = parts({ content: SIGNED, ...program });
  const end = { ...END };
  change(all, end);
  return forge(Object.values(all), end);
}

describe('a signed zip that differs from the original only in content', () => {
  it('returns the pairs that changed', async () => {
    const changed = await compareZips(await original, await read(signed(() => {})));
    assert.deepEqual(
      changed.map(([a, b]) => [a.path, a.size, b.size]),
      [['a.exe', 300, 309]],
    );
  });

  it('gives none if nothing changed', async () => {
    const same = await read(forge(Object.values(parts()), END));
    assert.deepEqual(await compareZips(await original, same), []);
  });

  it('gives an entry that was only compressed again: comparing the content is up to the caller', async () => {
    const again = await read(
      signed(() => {}, { content: CONTENT, data: deflateRawSync(CONTENT, { level: 0 }) }),
    );
    assert.deepEqual(
      (await compareZips(await original, again)).map(([a]) => a.path),
      ['a.exe'],
    );
  });

  it('may change before a data descriptor, which then changes too', async () => {
    const bytes = signed((all) => (all.streamed.content = SIGNED));
    const changed = await compareZips(await original, await read(bytes));
    assert.deepEqual(
      changed.map(([a]) => a.path),
      ['a.exe', 's.exe'],
    );
  });

  it('is what a rewrite makes', async () => {
    const output = join(folder, 'rewritten.zip');
    const archive = await original;
    await rewriteZip(archive, new Map([['s.exe', { source: new BufferSource(SIGNED, 's.exe') }]]), output);
    const changed = await compareZips(archive, await read(await readFile(output)));
    assert.deepEqual(
      changed.map(([a]) => a.path),
      ['s.exe'],
    );
  });
});

const packed = deflateRawSync(SIGNED);
const crc = crc32(SIGNED);
const patch = (bytes: Buffer, at: number): Buffer => {
  const result = Buffer.from(bytes);
  result[at] = (result[at] ?? 0) ^ 1;
  return result;
};

/** Every way to change more than content, and what the error must name. */
const ATTACKS: Record<string, [() => Buffer, RegExp]> = {
  'an entry more': [
    () => forge([...Object.values(parts({ content: SIGNED })), { name: 'evil.dll' }], END),
    /6 entries instead of 5/,
  ],
  'an entry less': [() => forge(Object.values(parts()).slice(0, 4), END), /4 entries instead of 5/],
  'another order': [
    () => {
      const { program, stored, streamed, link, odd } = parts({ content: SIGNED });
      return forge([program, stored, link, streamed, odd], END);
    },
    /another entry where "s.exe"/,
  ],
  'another name': [() => signed((all) => (all.program.name = 'b.exe')), /another entry where "a.exe"/],
  'bytes in a gap': [
    () => signed((all) => (all.stored.gap = Buffer.alloc(40))),
    /bytes before entry "data.bin": at offset/,
  ],
  'a gap that was not there': [
    () => signed((all) => ((all.program.data = packed), (all.streamed.gap = Buffer.alloc(6)))),
    /bytes before entry "s.exe": 6 instead of 0/,
  ],
  'bytes before the directory': [
    () => signed((_, end) => (end.beforeDirectory = Buffer.alloc(17))),
    /bytes before the directory: 17 instead of 8/,
  ],
  'the archive comment': [
    () => signed((_, end) => (end.comment = 'archive c0mment')),
    /end record: archive comment, at offset/,
  ],
  'a longer archive comment': [
    () => signed((_, end) => (end.comment = 'archive comment!')),
    /end record: comment length, at offset/,
  ],
  'an entry comment': [
    () => signed((all) => (all.program.comment = 'evil')),
    /"a.exe": central header: comment, at/,
  ],
  'attributes of a changed entry': [
    () => signed((all) => (all.program.attributes = 0o100777 * 65536)),
    /"a.exe": central header: external attributes/,
  ],
  'attributes of an unchanged entry': [
    () => signed((all) => (all.stored.attributes = 0o100777 * 65536)),
    /"data.bin": central header: external attributes/,
  ],
  'the version needed, locally': [
    () =>
      signed(
        (all) => (
          (all.program.local = (h) => h.writeUInt16LE(21, 4)),
          (all.program.central = (h) => h.writeUInt16LE(20, 6))
        ),
      ),
    /"a.exe": local header: version needed/,
  ],
  'the time, locally': [
    () =>
      signed(
        (all) => (
          (all.program.local = (h) => h.writeUInt16LE(1, 10)),
          (all.program.central = (h) => h.writeUInt16LE(0x5a21, 12))
        ),
      ),
    /"a.exe": local header: modification time/,
  ],
  'the time, in the directory': [
    () => signed((all) => (all.program.central = (h) => h.writeUInt16LE(1, 12))),
    /"a.exe": central header: modification time/,
  ],
  'the method': [() => signed((all) => (all.program.method = 0)), /"a.exe": local header: method/],
  'compression flags': [
    () => signed((all) => (all.program.local = (h) => h.writeUInt16LE(0x802, 6))),
    /"a.exe": local header: flags/,
  ],
  'extra fields, locally': [
    () =>
      signed((all) =>
        Object.assign(all.program, {
          localExtra: extra(0xcafe, Buffer.from('abd')),
          centralExtra: extra(0xcafe, Buffer.from('abc')),
        }),
      ),
    /"a.exe": local header: extra fields, at offset/,
  ],
  'extra fields, in the directory': [
    () => signed((all) => (all.program.centralExtra = extra(0xcafe, Buffer.from('abd')))),
    /"a.exe": central header: extra fields/,
  ],
  'an extra field more': [
    () =>
      signed(
        (all) =>
          (all.program.localExtra = Buffer.concat([
            extra(0xcafe, Buffer.from('abc')),
            extra(0xbeef, Buffer.alloc(6)),
          ])),
      ),
    /"a.exe": local header: extra field length/,
  ],
  'a zip64 field where none is needed': [
    () =>
      signed(
        (all) =>
          (all.program.localExtra = Buffer.concat([
            extra(1, Buffer.alloc(16)),
            extra(0xcafe, Buffer.from('abc')),
          ])),
      ),
    /"a.exe": local header: extra field length/,
  ],
  'internal attributes': [
    () => signed((all) => (all.program.central = (h) => h.writeUInt16LE(1, 36))),
    /"a.exe": central header: internal attributes/,
  ],
  'a data descriptor of another form': [
    () =>
      signed((all) =>
        Object.assign(all.streamed, {
          content: SIGNED,
          descriptor: descriptor(crc, packed.length, SIGNED.length, { signed: false }),
        }),
      ),
    /"s.exe": data descriptor: at offset/,
  ],
  'a local CRC where there was none': [
    () =>
      signed((all) =>
        Object.assign(all.streamed, { content: SIGNED, local: (h: Buffer) => h.writeUInt32LE(crc, 14) }),
      ),
    /"s.exe": local header: CRC-32/,
  ],
  'bytes behind the end of a deflate stream': [
    () => signed((all) => (all.program.data = Buffer.concat([packed, Buffer.alloc(6)]))),
    /"a.exe": data: .* hidden behind the end/,
  ],
  'new content with a wrong CRC-32': [
    () =>
      signed((all) =>
        Object.assign(all.program, {
          local: (h: Buffer) => h.writeUInt32LE(1, 14),
          central: (h: Buffer) => h.writeUInt32LE(1, 16),
        }),
      ),
    /"a.exe": data: .*CRC-32/,
  ],
  'the target of a link': [() => signed((all) => (all.link.content = 'b.exe')), /"link": data/],
  'content in a method that cannot be read': [
    () => signed((all) => (all.odd.content = 'in another m3thod')),
    /"odd": data/,
  ],
  'a zip64 end': [
    () => {
      const bytes = signed(() => {});
      const size = bytes.readUInt32LE(bytes.length - 15 - 10);
      const offset = bytes.readUInt32LE(bytes.length - 15 - 6);
      return signed((_, end) => (end.afterDirectory = zip64End(5, size, offset)));
    },
    /end records: zip64/,
  ],
};

describe('archive-differs', () => {
  for (const [what, [make, message]] of Object.entries(ATTACKS))
    it(what, async () => {
      const archive = await read(make());
      await assert.rejects(compareZips(await original, archive), {
        code: 'archive-differs',
        kind: 'invalid',
        message,
      });
    });

  it('one byte anywhere outside changed content: refused', async () => {
    const good = signed(() => {});
    const before = await original;
    const program = entryOf(await read(good), 'a.exe');
    for (let at = 0; at < good.length; at++) {
      if (at >= program.dataStart && at < program.dataEnd) continue;
      const outcome = await read(patch(good, at))
        .then((bad) => compareZips(before, bad))
        .then(
          (changed) => changed.map(([a]) => a.path).join(),
          (error: { code?: string }) => error.code ?? 'crash',
        );
      assert.match(outcome, /^(zip-.*|archive-differs)$/, `byte ${at}: ${outcome}`);
    }
  });

  it('the extensible data of a zip64 end record', async () => {
    const plain = forge([{ name: 'a', content: 'x' }]);
    const size = plain.readUInt32LE(plain.length - 10);
    const offset = plain.readUInt32LE(plain.length - 6);
    const [a, b] = await Promise.all(
      ['data', 'dat4'].map((data) =>
        read(
          forge([{ name: 'a', content: 'x' }], {
            afterDirectory: zip64End(1, size, offset, Buffer.from(data)),
          }),
        ),
      ),
    );
    assert.ok(a && b);
    await compareZips(a, a);
    await assert.rejects(compareZips(a, b), {
      code: 'archive-differs',
      message: /zip64 end record: extensible data/,
    });
  });
});
