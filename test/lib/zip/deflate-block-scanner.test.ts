import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { constants, deflateRawSync, inflateRawSync, type ZlibOptions } from 'node:zlib';
import { deflateFlushing, scanBlocks, PROGRAMS } from './deflated.ts';
import { contentOf, entryOf, random, read, run, sample, save, temporaryFolder } from './zips.ts';

const folder = await temporaryFolder();
const PROGRAM = (await readFile(PROGRAMS.x64)).subarray(0, 300_000);
const TEXT = Buffer.from('The quick brown fox jumps over the lazy dog. '.repeat(8000));

/** How far apart the boundaries are, in inflated bytes. */
const APART = 32 * 1024;
const CHUNKS = [7, 511, 512, 513, 65_536];

interface Made {
  name: string;
  content: Buffer;
  stream: Buffer;
}

function noise(length: number, seed: number): Buffer {
  const next = random(seed);
  return Buffer.from(Array.from({ length }, () => next() >>> 11));
}

const CONTENTS: Record<string, Buffer> = {
  program: PROGRAM,
  text: TEXT,
  noise: noise(150_000, 5),
  zeros: Buffer.alloc(700_000),
  halves: sample(100_000, 3),
  'one byte': Buffer.of(200),
  nothing: Buffer.alloc(0),
};

const SETTINGS: Record<string, ZlibOptions> = {
  ...Object.fromEntries(Array.from({ length: 10 }, (_, level) => [`level ${level}`, { level }])),
  filtered: { strategy: constants.Z_FILTERED },
  'Huffman only': { strategy: constants.Z_HUFFMAN_ONLY },
  'runs only': { strategy: constants.Z_RLE },
  'fixed codes': { strategy: constants.Z_FIXED },
  'little memory': { memLevel: 1 },
  'much memory': { memLevel: 9, level: 9 },
};

const FLUSHES = ['Z_SYNC_FLUSH', 'Z_FULL_FLUSH', 'Z_PARTIAL_FLUSH', 'Z_BLOCK'] as const;

const byZlib = (): Made[] =>
  Object.entries(CONTENTS).flatMap(([what, content]) =>
    Object.entries(SETTINGS).map(([how, options]) => ({
      name: `${what}, ${how}`,
      content,
      stream: deflateRawSync(content, options),
    })),
  );

const flushed = (): Promise<Made[]> =>
  Promise.all(
    FLUSHES.map(async (kind) => ({
      name: `program, ${kind} every 7,001 bytes`,
      content: PROGRAM,
      stream: await deflateFlushing(PROGRAM, 7001, constants[kind]),
    })),
  );

/** The deflated entry of a zip that another tool made. */
async function byTool(name: string, ...command: string[]): Promise<Made> {
  const zip = join(folder, `${name}.zip`);
  await run(command[0] ?? '', [...command.slice(1), zip, 'program'], { cwd: folder });
  const bytes = await readFile(zip);
  const archive = await read(bytes);
  const { dataStart, dataEnd, method } = entryOf(archive, 'program');
  assert.equal(method, 8);
  const content = await contentOf(archive, 'program');
  return { name, content, stream: bytes.subarray(dataStart, dataEnd) };
}

/** Cuts each stream at each place, ends it there with an empty stored block, and inflates that. */
const PYTHON = String.raw`
import json, sys, zlib
def lengths(path, places):
    stream, found, done, size = open(path, 'rb').read(), [], 0, 0
    z = zlib.decompressobj(-15)
    for bit in places:
        byte, place = divmod(bit, 8)
        size += len(z.decompress(stream[done:byte])); done = byte
        part = stream[byte] & ((1 << place) - 1) if place else 0
        tail = bytes([part | 1 << place] + ([0] if place > 5 else [])) + b'\0\0\xff\xff'
        end = z.copy()
        more = len(end.decompress(tail))
        found.append([size + more, end.eof and not end.unused_data])
    return found
print(json.dumps([lengths(*each) for each in json.load(sys.stdin)]))
`;

async function lengthsByPython(cases: [path: string, bits: number[]][]): Promise<[number, boolean][][]> {
  const running = run('python3', ['-c', PYTHON], { maxBuffer: 2 ** 26 });
  running.child.stdin?.end(JSON.stringify(cases));
  return JSON.parse((await running).stdout) as [number, boolean][][];
}

/** Packs bits into bytes: each pair is a value and its number of bits, the lowest bit first. */
function bits(...parts: [value: number, width: number][]): Buffer {
  const all = parts.flatMap(([value, width]) => Array.from({ length: width }, (_, at) => (value >>> at) & 1));
  const bytes = Buffer.alloc(Math.ceil(all.length / 8));
  for (const [at, bit] of all.entries()) bytes[at >>> 3] = (bytes[at >>> 3] ?? 0) | (bit << (at & 7));
  return bytes;
}

describe('the blocks of a deflate stream', () => {
  const made: Made[] = [];
  before(async () => {
    await save(folder, 'program', PROGRAM);
    made.push(
      ...byZlib(),
      ...(await flushed()),
      await byTool('zip -9', 'zip', '-q', '-9'),
      await byTool('zip -1', 'zip', '-q', '-1'),
      await byTool('7z -mx9', '7z', 'a', '-tzip', '-mx9'),
    );
  });

  it('end where the stream ends, with the length of the content', () => {
    for (const { name, content, stream } of made) {
      const map = scanBlocks(stream);
      assert.ok(map, name);
      assert.equal(map.end.at, content.length, name);
      assert.equal(Math.ceil(map.end.bit / 8), stream.length, name);
    }
  });

  it('begin with the beginning; each further boundary follows after 32 KiB of content or more', () => {
    for (const { name, stream } of made) {
      const map = scanBlocks(stream);
      assert.ok(map, name);
      const [first, ...others] = map.boundaries;
      assert.deepEqual(first, { bit: 0, at: 0, byte: stream[0] }, name);
      let previous = map.boundaries[0];
      for (const each of others) {
        assert.ok(previous && each.bit > previous.bit && each.at >= previous.at + APART, name);
        previous = each;
      }
      assert.ok(previous && previous.bit <= map.last.bit && map.last.bit < map.end.bit, name);
    }
  });

  it('have the byte of the stream in which each boundary lies', () => {
    for (const { name, stream } of made) {
      const map = scanBlocks(stream);
      assert.ok(map, name);
      for (const { bit, byte } of [...map.boundaries, map.last, map.end])
        assert.equal(byte, stream[Math.floor(bit / 8)] ?? 0, name);
      assert.equal((map.last.byte >>> (map.last.bit % 8)) & 1, 1, name);
    }
  });

  it('are places where the stream can be cut: Python inflates what is before to exactly that many bytes', async () => {
    const maps = made.map(({ stream }) => scanBlocks(stream));
    const places = maps.map((map) => (map ? [...map.boundaries, map.last, map.end] : []));
    for (const [index, each] of places.entries()) each.sort((one, other) => one.bit - other.bit || index);
    const paths = await Promise.all(made.map(({ stream }, index) => save(folder, `${index}.raw`, stream)));
    // No block can follow the end of a stream.
    const cuts = places.map((each) => each.slice(0, -1));
    const found = await lengthsByPython(
      paths.map((path, index) => [path, cuts[index]?.map(({ bit }) => bit) ?? []]),
    );
    for (const [index, each] of cuts.entries())
      assert.deepEqual(
        found[index],
        each.map(({ at }) => [at, true]),
        made[index]?.name,
      );
    assert.equal(new Set(cuts.flat().map(({ bit }) => bit % 8)).size, 8, 'cut at every bit of a byte');
  });

  it('include every boundary that is far enough from the one before', async () => {
    const stream = await deflateFlushing(TEXT, 40_000, constants.Z_SYNC_FLUSH);
    const ats = scanBlocks(stream)?.boundaries.map(({ at }) => at);
    assert.deepEqual(ats, [0, 40_000, 80_000, 120_000, 160_000, 200_000, 240_000, 280_000, 320_000, 360_000]);
  });

  it('are the same in whatever pieces the stream comes', () => {
    for (const { name, stream } of made) {
      const map = scanBlocks(stream);
      for (const size of CHUNKS) assert.deepEqual(scanBlocks(stream, size), map, `${name}, by ${size}`);
    }
    for (const { name, stream } of made.filter((_, index) => index % 6 === 0))
      assert.deepEqual(scanBlocks(stream, 1), scanBlocks(stream), `${name}, byte by byte`);
  });
});

describe('no blocks are found', () => {
  const stream = deflateRawSync(PROGRAM.subarray(0, 90_000));
  /** Pushed at once, and in pieces. */
  const assertNone = (bytes: Buffer, what: string): void => {
    for (const size of [bytes.length, 1, 600]) assert.equal(scanBlocks(bytes, Math.max(1, size)), null, what);
  };

  it('in nothing', () => assertNone(Buffer.alloc(0), 'nothing'));

  it('in a stream with bytes after its end', () => {
    assertNone(Buffer.concat([stream, Buffer.of(0)]), 'one');
    assertNone(Buffer.concat([stream, Buffer.alloc(5000)]), 'many');
    assertNone(Buffer.concat([stream, stream]), 'a stream');
    assertNone(Buffer.concat([deflateRawSync(Buffer.alloc(9), { level: 0 }), Buffer.of(0)]), 'stored');
  });

  it('in a stream that was cut anywhere', () => {
    for (let length = 0; length < stream.length; length += length < 1200 ? 1 : 997)
      assert.equal(scanBlocks(stream.subarray(0, length)), null, `${length}`);
    for (let length = stream.length - 1200; length < stream.length; length += 1)
      assert.equal(scanBlocks(stream.subarray(0, length), 600), null, `${length}`);
    const stored = deflateRawSync(noise(70_000, 4), { level: 0 });
    for (const length of [1, 2, 3, 4, 5, 6, 40_000, 65_540, 65_541, stored.length - 1])
      assertNone(stored.subarray(0, length), `stored, ${length}`);
  });

  it('in a stream with the reserved block type', () => {
    assertNone(bits([1, 1], [3, 2], [0, 2000]), 'first');
    const open = deflateRawSync(PROGRAM, { finishFlush: constants.Z_SYNC_FLUSH });
    assertNone(Buffer.concat([open, Buffer.of(0b111)]), 'last');
  });

  it('in a stored block whose two lengths disagree', () => {
    assert.ok(scanBlocks(Buffer.of(1, 1, 0, 0xfe, 0xff, 7)));
    assertNone(Buffer.of(1, 1, 0, 0xff, 0xff, 7), 'disagreeing');
  });

  it('in a stream with an invalid length, distance or code', () => {
    // Fixed codes, highest bit first: 286 is 11000110, the length 3 is 0000001, distance 30 is 11110.
    assertNone(bits([0b011, 3], [0b01100011, 8], [0, 4000]), 'length 286');
    assertNone(bits([0b011, 3], [0b1000000, 7], [0b01111, 5], [0, 4000]), 'distance 30');
    // Wherever the chunks end, the stream continues normally after it.
    const zeros = Array.from({ length: 1100 }, (): [number, number] => [0b00001100, 8]);
    const around = (...middle: [number, number][]): Buffer =>
      bits([0b011, 3], ...zeros, ...middle, ...zeros, [0, 7]);
    assert.equal(scanBlocks(around([0b1000000, 7], [0b00000, 5]), 1)?.end.at, 2203);
    assertNone(around([0b1000000, 7], [0b01111, 5]), 'distance 30 among others');
    assertNone(around([0b01100011, 8]), 'length 286 among others');
    assertNone(bits([0b101, 3], [0, 5], [0, 5], [0, 4], [0, 6000]), 'no code at all');
    const repeated: [number, number][] = [0, 0, 1, 0].map((length) => [length, 3]);
    assertNone(bits([0b101, 3], [0, 10], [0, 4], [1, 3], ...repeated, [0, 6000]), 'a repeat of nothing');
  });

  it('in random bytes', () => {
    for (let seed = 1; seed <= 300; seed += 1) assert.equal(scanBlocks(noise(3000, seed)), null, `${seed}`);
  });

  it('in an endless row of blocks: the scanner gives up early', () => {
    const empty: [number, number] = [0b010, 10];
    const eight = bits(...Array.from({ length: 8 }, () => empty));
    const many = Buffer.concat([...Array.from({ length: 25_000 }, () => eight), bits([0b011, 10])]);
    assert.equal(inflateRawSync(many).length, 0);
    const start = process.cpuUsage();
    assertNone(many, 'fixed');
    const stored = Buffer.from('000000ffff'.repeat(200_000), 'hex');
    assertNone(Buffer.concat([stored, Buffer.of(3, 0)]), 'stored');
    const { user } = process.cpuUsage(start);
    assert.ok(user < 3_000_000, `${user} µs`);
  });

  it('in a stream that begins with too many blocks, short or long and in whatever pieces', () => {
    const stored = Buffer.from('000000ffff'.repeat(150), 'hex');
    const long = Buffer.concat([stored, deflateRawSync(noise(400_000, 8))]);
    assert.equal(inflateRawSync(long).length, 400_000);
    assertNone(long, 'long');
  });

  it('in what follows the end, which is not kept either', () => {
    const start = process.memoryUsage().arrayBuffers;
    const piece = Buffer.alloc(1024 * 1024);
    const pieces = (function* pieces() {
      yield stream;
      for (let count = 0; count < 64; count += 1) yield piece;
    })();
    assert.equal(scanBlocks(pieces), null);
    assert.ok(process.memoryUsage().arrayBuffers - start < 16 * 1024 * 1024);
  });
});

describe('a damaged stream', () => {
  /** What zlib inflates, if it accepts all of it. */
  function inflated(stream: Buffer): number | null {
    try {
      const { buffer, engine } = inflateRawSync(stream, {
        info: true,
        maxOutputLength: 2 ** 24,
      }) as never as {
        buffer: Buffer;
        engine: { bytesWritten: number };
      };
      return engine.bytesWritten === stream.length ? buffer.length : null;
    } catch {
      return null;
    }
  }

  it('is never an error, and has the right length if zlib still accepts it', () => {
    const next = random(77);
    const streams = [
      deflateRawSync(PROGRAM.subarray(100_000, 104_000)),
      deflateRawSync(PROGRAM.subarray(100_000, 102_000), { strategy: constants.Z_FIXED }),
      deflateRawSync(TEXT.subarray(0, 9000), { memLevel: 1 }),
      deflateRawSync(noise(2000, 2)),
    ];
    let taken = 0;
    for (let round = 0; round < 4000; round += 1) {
      const damaged = Buffer.from(streams[round % streams.length] ?? '');
      const flips = 1 + (next() % 3);
      for (let flip = 0; flip < flips; flip += 1) {
        const at = next() % (round % 8 < 4 ? damaged.length : Math.min(120, damaged.length));
        damaged[at] = (damaged[at] ?? 0) ^ (1 << (next() % 8));
      }
      const map = scanBlocks(damaged);
      assert.deepEqual(scanBlocks(damaged, 513), map, `round ${round}`);
      const length = inflated(damaged);
      if (length === null) continue;
      taken += 1;
      assert.equal(map?.end.at, length, `round ${round}`);
    }
    assert.ok(taken > 500, `${taken} were still sound`);
  });
});
