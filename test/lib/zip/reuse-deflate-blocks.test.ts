import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { constants, deflateRawSync } from 'node:zlib';
import { compareZips } from '../../../src/lib/zip/compare-zips.ts';
import type { BlockBoundary, DeflateBlocks } from '../../../src/lib/zip/deflate-block-scanner.ts';
import { planRewrite, rewriteZip, type NewContent } from '../../../src/lib/zip/rewrite-zip.ts';
import { reuseDeflateBlocks, type ReusedStream } from '../../../src/lib/zip/reuse-deflate-blocks.ts';
import type { DeltaSpan } from '../../../src/lib/bytes/delta.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { BufferSource, withFile } from '../../../src/lib/bytes/byte-source.ts';
import { deflateFlushing, scanBlocks, PROGRAMS } from './deflated.ts';
import { contentOf, entryOf, random, rawEntries, read, run, sample, save, temporaryFolder } from './zips.ts';

const nothing = (): Promise<void> => Promise.resolve();

const folder = await temporaryFolder();
const PROGRAM = await readFile(PROGRAMS.x64);
/** How far back deflate looks, in bytes. */
const REACH = 32 * 1024;
const BEHIND_HEADER = 0x1a8;

function noise(length: number, seed: number): Buffer {
  const next = random(seed);
  return Buffer.from(Array.from({ length }, () => next() >>> 11));
}

/** The content as signing leaves it: a checksum, the place of the signature, and the signature at the end. */
function signed(content: Buffer, signature = noise(9000, 1)): Buffer {
  const result = Buffer.concat([content, signature]);
  noise(4, 2).copy(result, 0x150);
  noise(8, 3).copy(result, 0x1a0);
  return result;
}

const blocksOf = (stream: Buffer): DeflateBlocks => {
  const blocks = scanBlocks(stream);
  assert.ok(blocks);
  return blocks;
};

interface Tried {
  what: string;
  content: Buffer;
  packed: Buffer;
  unchanged: { start: number; end: number };
  blocks?: DeflateBlocks;
}

/** The result, if it is sound. */
async function attempt({
  content,
  packed,
  unchanged,
  blocks = blocksOf(packed),
}: Tried): Promise<ReusedStream | null> {
  const [source, old] = [new BufferSource(content, 'content'), new BufferSource(packed, 'packed')];
  const made = await reuseDeflateBlocks(source, old, { blocks, unchanged });
  return made && (await made.isSound()) ? made : null;
}

const freshOf = ({ compressed: { fresh } }: ReusedStream): Buffer => {
  assert.ok(fresh instanceof BufferSource);
  return fresh.bytes;
};

const joined = (result: ReusedStream, packed: Buffer): Buffer =>
  Buffer.concat(
    result.compressed.delta.spans.map(({ from, start, end }) =>
      (from === 'source' ? packed : freshOf(result)).subarray(start, end),
    ),
  );

const freshSize = (result: ReusedStream): number => freshOf(result).length;

const reusedSpans = ({ compressed }: ReusedStream): readonly DeltaSpan[] =>
  compressed.delta.spans.filter(({ from }) => from === 'source');

const PYTHON = String.raw`
import json, sys, zlib
def judge(packed, content):
    z = zlib.decompressobj(-15)
    out = z.decompress(open(packed, 'rb').read())
    return dict(same=out == open(content, 'rb').read(), sum=zlib.crc32(out), ends=z.eof and not z.unused_data)
print(json.dumps([judge(*each) for each in json.load(sys.stdin)]))
`;

/** Every result inflates to its content, as Python finds, and has its CRC-32. */
async function assertSound(cases: readonly [Tried, ReusedStream][]): Promise<void> {
  const paths = await Promise.all(
    cases.map(async ([{ content, packed }, result], index) => [
      await save(folder, `${index}.packed`, joined(result, packed)),
      await save(folder, `${index}.content`, content),
    ]),
  );
  const running = run('python3', ['-c', PYTHON], { maxBuffer: 2 ** 26 });
  running.child.stdin?.end(JSON.stringify(paths));
  const found = JSON.parse((await running).stdout) as unknown[];
  for (const [index, [{ what, packed }, result]] of cases.entries()) {
    assert.deepEqual(found[index], { same: true, sum: result.crc32, ends: true }, what);
    assert.equal(result.compressed.size, joined(result, packed).length, what);
  }
}

/** In all cases blocks can be reused, and the result is sound. */
async function allReused(cases: readonly Tried[]): Promise<ReusedStream[]> {
  const results: [Tried, ReusedStream][] = [];
  for (const each of cases) {
    const result = await attempt(each);
    assert.ok(result, each.what);
    results.push([each, result]);
  }
  await assertSound(results);
  return results.map(([, result]) => result);
}

const unchanged = (content: Buffer, end = content.length) => ({ start: BEHIND_HEADER, end });

/** Unchanged from just far enough back for the reused blocks to begin at this boundary. */
const unchangedFrom = ({ at }: BlockBoundary, content: Buffer) => ({
  start: at - REACH,
  end: content.length,
});

/** Signed content, of which all but the beginning is unchanged. */
const signedAgain = (what: string, old: Buffer, packed: Buffer, content = signed(old)): Tried => ({
  what,
  content,
  packed,
  unchanged: unchanged(old),
});

describe('content compressed with blocks of its old compressed data', () => {
  it('reuses nearly everything, at every compression level', async () => {
    const cases = Array.from({ length: 10 }, (_, level) =>
      signedAgain(`level ${level}`, PROGRAM, deflateRawSync(PROGRAM, { level })),
    );
    for (const [level, result] of (await allReused(cases)).entries()) {
      assert.ok(
        freshSize(result) < result.compressed.size / 5,
        `level ${level}: ${freshSize(result)} of ${result.compressed.size}`,
      );
      assert.ok(reusedSpans(result).some(({ start, end }) => end - start > result.compressed.size / 3));
    }
  });

  it('produces the same bytes each time', async () => {
    const one = signedAgain('program', PROGRAM, deflateRawSync(PROGRAM));
    const [first, second] = await allReused([one, one]);
    assert.ok(first && second);
    assert.deepEqual(first.compressed.delta, second.compressed.delta);
    assert.deepEqual(freshOf(first), freshOf(second));
    assert.equal(first.crc32, second.crc32);
  });

  it('leaves out the end that is replaced: an older signature, by a longer one, a shorter one or none', async () => {
    const old = Buffer.concat([PROGRAM, noise(9000, 7)]);
    const packed = deflateRawSync(old);
    const cases = [noise(12_000, 8), noise(400, 8), Buffer.alloc(0)].map((signature) =>
      signedAgain(`a signature of ${signature.length} bytes`, PROGRAM, packed, signed(PROGRAM, signature)),
    );
    for (const result of await allReused(cases)) assert.ok(freshSize(result) < result.compressed.size / 4);
  });

  it('begins with the old bytes if the beginning did not change', async () => {
    const content = Buffer.concat([PROGRAM, noise(9000, 7)]);
    const packed = deflateRawSync(PROGRAM);
    const [result] = await allReused([
      { what: 'longer', content, packed, unchanged: { start: 0, end: PROGRAM.length } },
    ]);
    const first = result?.compressed.delta.spans[0];
    assert.ok(result && first?.from === 'source' && first.start === 0 && first.end > packed.length / 2);
    assert.ok(freshSize(result) < 10_000);
  });

  it('begins to reuse at any bit of a byte', async () => {
    const cases: Tried[] = [];
    const seen = new Map<number, number>();
    for (let round = 0; round < 40 && [0, 1, 2, 3, 4, 5, 6, 7].some((bit) => !seen.has(bit)); round += 1) {
      const old = PROGRAM.subarray(round * 20_000, round * 20_000 + 250_000);
      const packed = deflateRawSync(old, { level: 1 + (round % 9) });
      const blocks = blocksOf(packed);
      for (const from of blocks.boundaries.filter(({ at }) => at > REACH)) {
        const phase = from.bit % 8;
        if ((seen.get(phase) ?? 0) > 2) continue;
        seen.set(phase, (seen.get(phase) ?? 0) + 1);
        const content = Buffer.concat([
          noise(from.at - REACH, 5),
          old.subarray(from.at - REACH),
          noise(99, 6),
        ]);
        cases.push({ what: `bit ${phase}`, content, packed, blocks, unchanged: unchangedFrom(from, old) });
      }
    }
    assert.equal(seen.size, 8);
    await allReused(cases);
  });

  it('ends to reuse at any bit of a byte, before the end and at the end', async () => {
    const [within, atEnd] = [new Map<number, Tried>(), new Map<number, Tried>()];
    const old = PROGRAM.subarray(0, 400_000);
    for (let level = 1; level < 10; level += 1) {
      const packed = deflateRawSync(old, { level });
      const blocks = blocksOf(packed);
      for (const { at, bit } of blocks.boundaries.slice(1)) {
        const content = Buffer.concat([old.subarray(0, at), noise(500, level)]);
        const [what, range] = [`bit ${bit % 8}`, { start: 0, end: at }];
        within.set(bit % 8, { what, content, packed, blocks, unchanged: range });
      }
    }
    for (let more = 0; more < 60; more += 1) {
      const short = PROGRAM.subarray(200_000, 260_000 + more);
      const packed = deflateRawSync(short);
      const blocks = blocksOf(packed);
      const content = Buffer.concat([short, noise(500, more)]);
      const what = `the end at bit ${blocks.end.bit % 8}`;
      const range = { start: 0, end: short.length };
      atEnd.set(blocks.end.bit % 8, { what, content, packed, blocks, unchanged: range });
    }
    assert.equal(within.size, 8);
    assert.equal(atEnd.size, 8);
    await allReused([...within.values(), ...atEnd.values()]);
  });

  it('reuses the last block alone, which is then no longer the last', async () => {
    const cases: Tried[] = [];
    const phases = new Set<number>();
    for (let start = 0; start < 400_000; start += 10_000) {
      const old = PROGRAM.subarray(start, start + 120_000);
      const packed = deflateRawSync(old);
      const blocks = blocksOf(packed);
      const from = blocks.boundaries.at(-1);
      if (!from || from.bit !== blocks.last.bit || phases.has(from.bit % 8)) continue;
      phases.add(from.bit % 8);
      const what = `the last block at bit ${from.bit % 8}`;
      cases.push({ what, content: signed(old), packed, blocks, unchanged: unchangedFrom(from, old) });
    }
    assert.ok(phases.size > 4, `${phases.size} places`);
    await allReused(cases);
    const single = sample(10_000);
    const packed = deflateRawSync(single, { strategy: constants.Z_FIXED });
    assert.equal(blocksOf(packed).last.bit, 0);
    const content = Buffer.concat([single, noise(100, 1)]);
    await allReused([
      { what: 'the only block', content, packed, unchanged: { start: 0, end: single.length } },
    ]);
  });

  it('reuses stored blocks, flushes of all kinds, and blocks of all kinds mixed', async () => {
    const mixed = Buffer.concat([
      PROGRAM.subarray(0, 200_000),
      noise(200_000, 3),
      PROGRAM.subarray(200_000, 400_000),
    ]);
    const streams: Record<string, Buffer> = {
      stored: deflateRawSync(mixed, { level: 0 }),
      mixed: deflateRawSync(mixed),
      'fixed codes': deflateRawSync(mixed, { strategy: constants.Z_FIXED }),
      'Huffman only': deflateRawSync(mixed, { strategy: constants.Z_HUFFMAN_ONLY }),
      'little memory': deflateRawSync(mixed, { memLevel: 2 }),
      'sync flushes': await deflateFlushing(mixed, 9999),
      'full flushes': await deflateFlushing(mixed, 9999, constants.Z_FULL_FLUSH),
      'partial flushes': await deflateFlushing(mixed, 9999, constants.Z_PARTIAL_FLUSH),
    };
    const cases = Object.entries(streams).map(([what, packed]) => signedAgain(what, mixed, packed));
    for (const result of await allReused(cases)) assert.ok(freshSize(result) < result.compressed.size / 2);
  });

  it('reuses no block that can refer to changed bytes', async () => {
    const content = signed(PROGRAM);
    const packed = deflateRawSync(PROGRAM);
    const blocks = blocksOf(packed);
    for (const start of [BEHIND_HEADER, 100_000, 333_333]) {
      noise(200, start).copy(content, start - 200);
      const [result] = await allReused([
        { what: `${start}`, content, packed, blocks, unchanged: { start, end: PROGRAM.length } },
      ]);
      const taken = result && reusedSpans(result)[0];
      const from = blocks.boundaries.find(({ at }) => at >= start + REACH);
      assert.ok(taken && from && taken.start >= Math.floor(from.bit / 8));
    }
  });
});

describe('no block is reused', () => {
  const packed = deflateRawSync(PROGRAM);
  const content = signed(PROGRAM);
  const none = async (tried: Omit<Tried, 'what'>): Promise<void> =>
    assert.equal(await attempt({ what: '', ...tried }), null);

  it('if too little is unchanged for one whole block', async () => {
    await none({ content, packed, unchanged: { start: BEHIND_HEADER, end: BEHIND_HEADER } });
    await none({ content, packed, unchanged: { start: BEHIND_HEADER, end: BEHIND_HEADER + REACH } });
    await none({ content, packed, unchanged: { start: PROGRAM.length - REACH, end: PROGRAM.length } });
    await none({ content, packed, unchanged: { start: 0, end: 100 } });
    const short = PROGRAM.subarray(0, 30_000);
    await none({ content: signed(short), packed: deflateRawSync(short), unchanged: unchanged(short) });
  });

  it('if so much lies before or after what is unchanged that little would be gained', async () => {
    const large = sample(5_500_000);
    const stored = deflateRawSync(large, { level: 0 });
    await none({ content: large, packed: stored, unchanged: { start: 4_300_000, end: large.length } });
    await none({ content: large, packed: stored, unchanged: { start: 0, end: 1_000_000 } });
  });

  it('at a bit that no fixed code leads to: content without a literal from 144 on', async () => {
    const text = Buffer.from(Array.from(noise(250_000, 4), (byte) => byte & 0x7f & (byte >>> 1)));
    const found = new Map<number, boolean>();
    for (const level of [1, 4, 9]) {
      const stream = deflateRawSync(text, { level, memLevel: 6 });
      const blocks = blocksOf(stream);
      for (const from of blocks.boundaries.filter(({ at }) => at > REACH)) {
        const range = unchangedFrom(from, text);
        const tried = { what: '', content: text, packed: stream, blocks, unchanged: range };
        const result = await attempt(tried);
        if (result) await assertSound([[tried, result]]);
        found.set(from.bit % 8, result !== null);
      }
    }
    // An empty block of fixed codes takes 10 bits.
    assert.ok(found.size > 4);
    for (const [bit, possible] of found) assert.equal(possible, bit === 0 || bit === 2, `bit ${bit}`);
  });

  it('with the blocks of another stream', async () => {
    const others = [
      deflateRawSync(PROGRAM, { level: 1 }),
      deflateRawSync(PROGRAM, { level: 0 }),
      deflateRawSync(PROGRAM, { level: 9, memLevel: 9 }),
      deflateRawSync(PROGRAM.subarray(0, 900_000)),
      deflateRawSync(Buffer.from(PROGRAM).reverse()),
    ];
    for (const other of others) {
      await none({ content, packed, blocks: blocksOf(other), unchanged: unchanged(PROGRAM) });
      await none({ content, packed: other, blocks: blocksOf(packed), unchanged: unchanged(PROGRAM) });
    }
  });

  it('if a boundary is off by one bit, or its content by one byte', async () => {
    const blocks = blocksOf(packed);
    const shift = (by: Partial<Record<'bit' | 'at' | 'byte', number>>): DeflateBlocks => ({
      ...blocks,
      boundaries: blocks.boundaries.map(({ bit, at, byte }) => ({
        bit: bit + (by.bit ?? 0),
        at: at + (by.at ?? 0),
        byte,
      })),
    });
    for (const by of [{ bit: 1 }, { bit: 8 }, { at: 1 }, { at: -1 }])
      await none({ content, packed, blocks: shift(by), unchanged: unchanged(PROGRAM) });
  });

  it('if what is said to be unchanged is not, even by one bit', async () => {
    for (const at of [60_000, 500_000, PROGRAM.length - 1]) {
      const differing = Buffer.from(content);
      differing[at] = (differing[at] ?? 0) ^ 1;
      const { boundaries } = blocksOf(packed);
      assert.ok((boundaries.find((each) => each.at >= BEHIND_HEADER + REACH)?.at ?? 0) < 500_000);
      const tried = signedAgain(`${at}`, PROGRAM, packed, differing);
      const result = await attempt(tried);
      // What lies before the reused blocks is compressed, whatever it is.
      if (result) await assertSound([[tried, result]]);
      else assert.ok(at >= 60_000);
      if (at >= 500_000) assert.equal(result, null);
    }
  });

  it('if the old data is damaged', async () => {
    const blocks = blocksOf(packed);
    for (const at of [packed.length >>> 1, packed.length - 2]) {
      const damaged = Buffer.from(packed);
      damaged[at] = (damaged[at] ?? 0) ^ 16;
      await none({ content, packed: damaged, blocks, unchanged: unchanged(PROGRAM) });
    }
  });
});

describe('a zip with a signed program of three megabytes', () => {
  const NAME = 'bin/program.exe';

  async function made(level: string) {
    const program = Buffer.concat(await Promise.all(Object.values(PROGRAMS).map((path) => readFile(path))));
    const tree = join(folder, level);
    await run('mkdir', ['-p', join(tree, 'bin')]);
    await save(tree, NAME, program);
    await save(tree, 'a.txt', Buffer.from('before'));
    await save(tree, 'z.txt', sample(70_000));
    const path = join(folder, `made${level}.zip`);
    await run('zip', ['-q', level, path, 'a.txt', NAME, 'z.txt'], { cwd: tree });
    const bytes = await readFile(path);
    const archive = await read(bytes);
    const { dataStart, dataEnd } = entryOf(archive, NAME);
    const blocks = blocksOf(bytes.subarray(dataStart, dataEnd));
    const content = signed(program);
    const source = new BufferSource(content, NAME);
    const reuse = { blocks, unchanged: unchanged(program) };
    return { path, archive, content, replacements: new Map<string, NewContent>([[NAME, { source, reuse }]]) };
  }

  for (const level of ['-9', '-1'])
    it(`that zip ${level} made: other tools take it, and nothing else changed`, async () => {
      const { path, archive, content, replacements } = await made(level);
      const output = join(folder, `rewritten${level}.zip`);
      await rewriteZip(archive, replacements, output);
      const [unzip, seven, python, original] = await Promise.all([
        run('unzip', ['-tq', output]),
        run('7z', ['t', output]),
        rawEntries(output),
        rawEntries(path),
      ]);
      assert.match(unzip.stdout, /No errors detected/);
      assert.match(seven.stdout, /Everything is Ok/);
      assert.equal(python.bad, null);
      for (const [index, before] of original.entries.entries()) {
        const after = python.entries[index];
        if (before.name !== NAME) assert.deepEqual(after, before);
        else assert.deepEqual([after?.central, after?.behind], [before.central, before.behind]);
      }
      const rewritten = await read(await readFile(output));
      assert.ok((await contentOf(rewritten, NAME)).equals(content));
      const changed = await compareZips(archive, rewritten);
      assert.deepEqual(
        changed.map(([{ path: name }]) => name),
        [NAME],
      );
    });

  it('as a plan produces the same bytes, few of them new', async () => {
    const { archive, content, replacements } = await made('-9');
    const [output, fresh] = [join(folder, 'written.zip'), join(folder, 'fresh')];
    await rewriteZip(archive, replacements, output);
    const { delta } = await planRewrite(archive, replacements, { path: fresh }, nothing);
    const expected = await readFile(output);
    const size = await withFile(fresh, async (file) => {
      const whole = new PatchedSource(archive.source, delta, file);
      assert.ok((await whole.read(0, whole.size)).equals(expected));
      return file.size;
    });
    assert.ok(size < 100_000, `${size} new bytes for ${content.length} of content`);
  });

  for (const [what, inMemory, where] of [
    ['few new bytes in memory, and makes no file', 2_000_000, 'memory'],
    ['what is too much for memory in a file', 10_000, 'file'],
  ] as const)
    it(`as a plan keeps ${what}`, async () => {
      const { archive, replacements } = await made('-9');
      const [written, path] = [join(folder, 'all'), join(folder, `kept-in-${where}`)];
      await planRewrite(archive, replacements, { path: written }, nothing);
      const expected = await readFile(written);
      assert.ok(expected.length > 10_000 && expected.length < 2_000_000);
      const seen: Buffer[] = [];
      const { newBytes } = await planRewrite(archive, replacements, { path, inMemory }, async (_, bytes) => {
        seen.push(Buffer.from(await bytes.read(0, bytes.size)));
      });
      assert.deepEqual(seen, [expected]);
      assert.equal(existsSync(path), where === 'file');
      assert.ok((where === 'file' ? await readFile(path) : newBytes)?.equals(expected));
      assert.equal(newBytes === null, where === 'file');
    });

  it('is used while it is checked, and once more, compressed as a whole, if the check fails', async () => {
    const { archive, content } = await made('-9');
    const fresh = join(folder, 'unsound');
    const { dataStart, dataEnd } = entryOf(archive, NAME);
    const blocks = blocksOf(await archive.source.read(dataStart, dataEnd - dataStart));
    // A byte far into the part that is said to be unchanged differs: only the check finds it.
    const changed = Buffer.from(content);
    changed.writeUInt8(changed.readUInt8(1_000_000) ^ 1, 1_000_000);
    const source = new BufferSource(changed, NAME);
    const replacements = new Map([
      [NAME, { source, reuse: { blocks, unchanged: unchanged(content, content.length - 9000) } }],
    ]);
    const results: Buffer[] = [];
    const plan = await planRewrite(archive, replacements, { path: fresh }, async (delta, bytes) => {
      const whole = new PatchedSource(archive.source, delta, bytes);
      return results.push(await whole.read(0, whole.size));
    });
    assert.deepEqual([plan.used, results.length], [2, 2]);
    const [first, second] = results;
    assert.ok(first && second && !first.equals(second));
    assert.ok((await contentOf(await read(second), NAME)).equals(changed));
    const output = join(folder, 'unsound.zip');
    await rewriteZip(archive, replacements, output);
    assert.ok((await readFile(output)).equals(second));
  });

  it('is one of many, of which a few at a time are worked on', async () => {
    const program = await readFile(PROGRAMS.x64);
    const names = Array.from({ length: 12 }, (_, at) => `bin/${at}.exe`);
    const tree = join(folder, 'many');
    await run('mkdir', ['-p', join(tree, 'bin')]);
    for (const name of names) await save(tree, name, program);
    await run('zip', ['-q', '-9', join(folder, 'many.zip'), ...names], { cwd: tree });
    const bytes = await readFile(join(folder, 'many.zip'));
    const archive = await read(bytes);
    const content = signed(program);
    let [open, most] = [0, 0];
    const replacements = names.map((name): [string, NewContent] => {
      const { dataStart, dataEnd } = entryOf(archive, name);
      const inner = new BufferSource(content, name);
      const slow = async (offset: number, length: number): Promise<Buffer> => {
        most = Math.max(most, ++open);
        await new Promise((done) => setTimeout(done, 1));
        open -= 1;
        return inner.read(offset, length);
      };
      const blocks = blocksOf(bytes.subarray(dataStart, dataEnd));
      return [
        name,
        { source: { name, size: inner.size, read: slow }, reuse: { blocks, unchanged: unchanged(program) } },
      ];
    });
    const output = join(folder, 'many-rewritten.zip');
    await rewriteZip(archive, new Map(replacements), output);
    // Two are compressed, and two are checked.
    assert.ok(most <= 4, `${most} at once`);
    const rewritten = await read(await readFile(output));
    for (const name of names) assert.ok((await contentOf(rewritten, name)).equals(content), name);
  });

  it('is the same when written again, and is compressed as a whole if nothing can be reused', async () => {
    const { archive, content, replacements } = await made('-9');
    const [one, other, plain] = ['one.zip', 'other.zip', 'plain.zip'].map((name) => join(folder, name));
    assert.ok(one && other && plain);
    await rewriteZip(archive, replacements, one);
    await rewriteZip(archive, replacements, other);
    assert.ok((await readFile(one)).equals(await readFile(other)));
    const source = new BufferSource(content, NAME);
    const reuse = { blocks: blocksOf(deflateRawSync(content)), unchanged: unchanged(content) };
    await rewriteZip(archive, new Map([[NAME, { source, reuse }]]), other);
    await rewriteZip(archive, new Map([[NAME, { source }]]), plain);
    assert.ok((await readFile(other)).equals(await readFile(plain)));
    assert.ok((await contentOf(await read(await readFile(other)), NAME)).equals(content));
  });
});
