import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { compareZips } from '../../../src/lib/zip/compare-zips.ts';
import { readArchive } from '../../../src/lib/zip/read-zip.ts';
import { rewriteZip, type NewContent } from '../../../src/lib/zip/rewrite-zip.ts';
import { BufferSource, withFile, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { MAKERS, makeTree, PROGRAM } from './zip-programs.ts';
import {
  contentOf,
  entryOf,
  extra,
  forge,
  type Forged,
  LIMITS,
  rawEntries,
  read,
  readZipFile,
  run,
  sample,
  temporaryFolder,
  virtualEntry,
  zip64End,
} from './zips.ts';

const folder = await temporaryFolder();
const replacement = (bytes: Buffer, path = PROGRAM): Map<string, NewContent> =>
  new Map([[path, { source: new BufferSource(bytes, path) }]]);

/** Longer than a deflate block, so that blocks have to join. */
const NEW = sample(1_300_000, 99);

/** Checks a zip with four other readers. */
async function judge(path: string): Promise<void> {
  const foreign = (await readZipFile(path)).entries.some(({ method }) => ![0, 8, 12].includes(method));
  const [seven, python, unzip, zip] = await Promise.all([
    run('7z', ['t', path]),
    rawEntries(path),
    // Neither knows LZMA or Deflate64.
    foreign ? null : run('unzip', ['-tq', path]),
    foreign ? null : run('zip', ['-T', path]),
  ]);
  assert.match(seven.stdout, /Everything is Ok/);
  assert.equal(python.bad, null);
  if (unzip) assert.match(unzip.stdout, /No errors detected/);
  if (zip) assert.match(zip.stdout, /OK/);
}

/** Everything except the program has the same bytes, as Python reads them. */
async function assertUntouched(original: string, rewritten: string, changed = PROGRAM): Promise<void> {
  const [a, b] = await Promise.all([rawEntries(original), rawEntries(rewritten)]);
  assert.equal(b.comment, a.comment);
  assert.equal(b.entries.length, a.entries.length);
  for (const [index, before] of a.entries.entries()) {
    const after = b.entries[index];
    if (before.name !== changed) assert.deepEqual(after, before);
    else assert.deepEqual([after?.name, after?.central], [before.name, before.central]);
  }
}

describe('a rewritten zip', () => {
  let tree = '';
  before(async () => {
    tree = await makeTree(folder);
  });

  for (const [maker, make] of Object.entries(MAKERS))
    it(`made by ${maker}: is sound to others and unchanged except for the program`, async () => {
      const work = join(folder, maker.replaceAll(/\W+/g, '-'));
      await mkdir(work);
      const original = join(work, 'original.zip');
      await make(tree, original);
      const archive = await readZipFile(original);
      assert.deepEqual(await contentOf(archive, PROGRAM), await readFile(join(tree, PROGRAM)));
      const output = join(work, 'signed.zip');
      const result = await rewriteZip(archive, replacement(NEW), output);
      await judge(output);
      const signed = await readZipFile(output);
      assert.equal(result.size, signed.source.size);
      assert.deepEqual(await contentOf(signed, PROGRAM), NEW);
      await assertUntouched(original, output);
      const changed = await compareZips(archive, signed);
      assert.deepEqual(
        changed.map(([a, b]) => [a.path, b.path]),
        [[PROGRAM, PROGRAM]],
      );
      await rm(work, { recursive: true });
    });

  it('without replacements is the same file', async () => {
    for (const maker of ['zip, with uid, gid and times', 'zip to a pipe', 'zip -fz, zip64']) {
      const original = join(folder, 'same.zip');
      await MAKERS[maker]?.(tree, original);
      const archive = await readZipFile(original);
      await rewriteZip(archive, new Map(), join(folder, 'again.zip'));
      assert.deepEqual(await readFile(join(folder, 'again.zip')), await readFile(original));
      await rm(original);
    }
  });
});

const ENTRIES: Forged[] = [
  {
    name: 'a.exe',
    content: sample(4000, 1),
    comment: 'first',
    localExtra: extra(0xcafe, Buffer.from('kept')),
  },
  { name: 'stored.exe', content: sample(4000, 2), method: 0, gap: virtualEntry(7) },
  { name: 'streamed.exe', content: sample(4000, 3), flags: 0x808, gap: Buffer.alloc(5) },
  { name: 'other.bin', content: 'whatever', method: 93 },
];
const FORGED = forge(ENTRIES, { comment: 'the end', beforeDirectory: virtualEntry(9) });

/** Mostly short content, some longer than a block. */
const fresh = (n: number): Buffer => sample(n % 10 ? n * 97 : n * 7000, n + 1);

describe('rewriting', () => {
  it('keeps gaps, comments and foreign methods, keeps stored entries stored, several at once', async () => {
    const archive = await read(FORGED);
    const several = new Map<string, NewContent>(
      ['a.exe', 'stored.exe', 'streamed.exe'].map((path, n) => [
        path,
        { source: new BufferSource(sample(6000, n + 50), path) },
      ]),
    );
    const output = join(folder, 'several.zip');
    await rewriteZip(archive, several, output);
    const bytes = await readFile(output);
    for (const kept of [virtualEntry(7), virtualEntry(9), 'the end', 'kept'])
      assert.ok(bytes.includes(kept), String(kept));
    const signed = await read(bytes);
    for (const [n, path] of [...several.keys()].entries())
      assert.deepEqual(await contentOf(signed, path), sample(6000, n + 50));
    assert.equal(entryOf(signed, 'stored.exe').method, 0);
    assert.equal((await compareZips(archive, signed)).length, 3);
  });

  it('writes what a plain rewrite in memory would', async () => {
    const content = sample(200, 5);
    const output = join(folder, 'plain.zip');
    const entries: Forged[] = [
      { name: 'a', content: 'old', method: 0, comment: 'c' },
      { name: 'b', content: 'left' },
    ];
    await rewriteZip(await read(forge(entries)), replacement(content, 'a'), output);
    assert.deepEqual(
      await readFile(output),
      forge([
        { name: 'a', content, method: 0, comment: 'c' },
        { name: 'b', content: 'left' },
      ]),
    );
  });

  it('replaces a hundred entries of all sizes at once, each with its own content', async () => {
    const paths = Array.from({ length: 100 }, (_, n) => `p/${n}.exe`);
    const archive = await read(
      forge(
        paths.map((name, n) => ({
          name,
          content: name,
          method: n % 3 ? 8 : 0,
          flags: n % 2 ? 0x808 : 0x800,
        })),
      ),
    );
    const output = join(folder, 'hundred.zip');
    await rewriteZip(
      archive,
      new Map(paths.map((path, n) => [path, { source: new BufferSource(fresh(n), path) }])),
      output,
    );
    const signed = await readZipFile(output);
    for (const [n, path] of paths.entries()) assert.deepEqual(await contentOf(signed, path), fresh(n));
    assert.equal((await compareZips(archive, signed)).length, 100);
    await judge(output);
  });

  it('produces the same bytes each time', async () => {
    const archive = await read(FORGED);
    const outputs = [join(folder, 'one.zip'), join(folder, 'two.zip')];
    for (const output of outputs) await rewriteZip(archive, replacement(NEW, 'a.exe'), output);
    const [one, two] = await Promise.all(outputs.map((output) => readFile(output)));
    assert.deepEqual(one, two);
  });

  it('accepts content of any length around its block size, and empty content', async () => {
    const archive = await read(FORGED);
    const output = join(folder, 'lengths.zip');
    for (const length of [0, 1, 524_287, 524_288, 524_289, 1_048_576]) {
      await rewriteZip(archive, replacement(sample(length, 3), 'a.exe'), output);
      assert.deepEqual(await contentOf(await readZipFile(output), 'a.exe'), sample(length, 3));
      assert.match((await run('7z', ['t', output, 'a.exe'])).stdout, /Everything is Ok/);
    }
  });

  it('keeps the order of entries in the file and in the directory, even if they differ', async () => {
    const bytes = forge([
      { name: 'a', content: 'first in the file' },
      { name: 'b', content: 'second in the file' },
    ]);
    const start = bytes.readUInt32LE(bytes.length - 6);
    const half = (bytes.length - 22 - start) / 2;
    const swapped = Buffer.concat([
      bytes.subarray(0, start),
      bytes.subarray(start + half, start + 2 * half),
      bytes.subarray(start, start + half),
      bytes.subarray(-22),
    ]);
    const archive = await read(swapped);
    assert.deepEqual(
      archive.entries.map(({ path }) => path),
      ['b', 'a'],
    );
    const output = join(folder, 'swapped.zip');
    await rewriteZip(archive, replacement(NEW, 'a'), output);
    const signed = await readZipFile(output);
    assert.deepEqual(
      signed.entries.map(({ path }) => path),
      ['b', 'a'],
    );
    assert.equal(String(await contentOf(signed, 'b')), 'second in the file');
    assert.deepEqual(await contentOf(signed, 'a'), NEW);
    await compareZips(archive, signed);
  });

  it('keeps the extensible data of a zip64 end record', async () => {
    const plain = forge([ENTRIES[0] ?? { name: '' }]);
    const offset = plain.readUInt32LE(plain.length - 6);
    const size = plain.readUInt32LE(plain.length - 10);
    const tail = zip64End(1, size, offset, Buffer.from('extensible'));
    const archive = await read(forge([ENTRIES[0] ?? { name: '' }], { afterDirectory: tail }));
    const output = join(folder, 'extensible.zip');
    await rewriteZip(archive, replacement(NEW, 'a.exe'), output);
    assert.ok((await readFile(output)).includes('extensible'));
    await compareZips(archive, await readZipFile(output));
  });

  it('zip-entry-missing: a path that is not there; nothing is left behind', async () => {
    const output = join(folder, 'missing.zip');
    await assert.rejects(async () => rewriteZip(await read(FORGED), replacement(NEW, 'x.exe'), output), {
      code: 'zip-entry-missing',
    });
    assert.ok(!(await readdir(folder)).some((name) => name.includes('missing')));
  });

  it('zip-method-unsupported: an entry that it cannot deflate', async () => {
    const output = join(folder, 'method.zip');
    await assert.rejects(async () => rewriteZip(await read(FORGED), replacement(NEW, 'other.bin'), output), {
      code: 'zip-method-unsupported',
    });
  });

  it('passes on an error of the new content, and leaves nothing behind', async () => {
    const broken: ByteSource = {
      size: 5_000_000,
      name: 'broken',
      read: async (offset, length) => {
        await Promise.resolve();
        if (offset > 1_000_000) throw new Error('the disk is gone');
        return Buffer.alloc(length);
      },
    };
    const output = join(folder, 'broken.zip');
    await assert.rejects(
      async () => rewriteZip(await read(FORGED), new Map([['a.exe', { source: broken }]]), output),
      { message: 'the disk is gone' },
    );
    assert.ok(!(await readdir(folder)).some((name) => name.includes('broken')));
  });
});

/** A source of any length, generated as it is read. */
function pattern(size: number): ByteSource {
  const block = sample(1 << 20, 42);
  return {
    size,
    name: 'pattern',
    read: async (offset, length) => {
      await Promise.resolve();
      const result = Buffer.allocUnsafe(length);
      for (let done = 0; done < length;) {
        const from = (offset + done) % block.length;
        done += block.copy(result, done, from, Math.min(block.length, from + length - done));
      }
      return result;
    },
  };
}

/** How much more memory some work takes at its peak than before, in bytes. */
async function peakOf(work: () => Promise<void>): Promise<number> {
  const start = process.memoryUsage().rss;
  let peak = start;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20);
  try {
    await work();
  } finally {
    clearInterval(watch);
  }
  return peak - start;
}

describe('large entries', () => {
  const FLAT = 100 * 1024 * 1024;

  it('200 MB go through in flat memory', async () => {
    const size = 200 * 1024 * 1024;
    const output = join(folder, 'large.zip');
    const archive = await read(
      forge([
        { name: 'a.bin', content: 'old', method: 0 },
        { name: 'z', content: 'last' },
      ]),
    );
    const peak = await peakOf(async () => {
      await rewriteZip(archive, new Map([['a.bin', { source: pattern(size) }]]), output);
      await withFile(output, async (file) => {
        const signed = await readArchive(file, LIMITS);
        assert.equal(entryOf(signed, 'a.bin').size, size);
        // Reads the entry to its end, length and CRC-32 included.
        assert.equal((await compareZips(archive, signed)).length, 1);
      });
    });
    assert.ok(peak < FLAT, `${Math.round(peak / 1e6)} MB more than before`);
    assert.deepEqual(
      (await readdir(folder)).filter((name) => name.endsWith('.part')),
      [],
    );
    await rm(output);
  });

  it('a deflated 60 MB entry is compressed in flat memory and read back', async () => {
    const output = join(folder, 'deflated.zip');
    const archive = await read(forge([{ name: 'a.bin', content: 'old' }]));
    const peak = await peakOf(async () => {
      await rewriteZip(archive, new Map([['a.bin', { source: pattern(60 << 20) }]]), output);
    });
    assert.ok(peak < FLAT, `${Math.round(peak / 1e6)} MB more than before`);
    assert.match((await run('unzip', ['-tq', output])).stdout, /No errors detected/);
    await rm(output);
  });
});
