/** Threads, which only the compiled program has, read large files with the same results as this thread. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, open, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import * as here from '../../../src/lib/bytes/hash-and-compare.ts';
import type { SourceRange } from '../../../src/lib/bytes/concatenated-source.ts';
import { PatchedSource } from '../../../src/lib/bytes/patched-source.ts';
import { offsetIn } from '../../../src/lib/bytes/byte-range.ts';
import { BufferSource, FileSource } from '../../../src/lib/bytes/byte-source.ts';
import { compiled } from '../../compiled.ts';

const dist = await mkdtemp(join(tmpdir(), 'signpipe-compiled-'));
const compile = (name: string): Promise<string> =>
  compiled(join(import.meta.dirname, '../../../src/lib/bytes', name), dist);
const [hashModule, source] = [await compile('hash-and-compare.ts'), await compile('byte-source.ts')];
const aside = (await import(hashModule)) as typeof here;
after(() => rm(dist, { recursive: true }));

const SIZE = 17 * 1024 * 1024 + 13;
const CODE = { file: 'file-truncated', system: 'EBADF' };

/** Bytes whose period is not a divisor of a step. */
const content = Buffer.alloc(SIZE, createHash('sha512').update('seed').digest().subarray(0, 61));

const sha256 = (...all: Buffer[]): string => {
  const hash = createHash('sha256');
  for (const each of all) hash.update(each);
  return hash.digest('hex');
};

describe('threads', () => {
  let folder: string;
  let path: string;
  let file: FileSource;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'signpipe-threads-'));
    path = join(folder, 'large');
    await writeFile(path, content);
    file = await FileSource.open(path);
  });
  after(async () => {
    await file.close();
    await rm(folder, { recursive: true });
  });

  const patchedFile = (): PatchedSource =>
    PatchedSource.of(file, [
      { start: 0, end: 7 },
      Buffer.from('new'),
      { start: 9, end: SIZE - 1 },
      Buffer.from('the end'),
    ]);
  const patchedContent = Buffer.concat([
    content.subarray(0, 7),
    Buffer.from('new'),
    content.subarray(9, SIZE - 1),
    Buffer.from('the end'),
  ]);
  it('hash, add up and pad as this thread does: files, patched files and memory, cut anywhere', async () => {
    const [patched, memory] = [patchedFile(), new BufferSource(content, 'memory')];
    const cases: [string, SourceRange[], Buffer[]][] = [
      ['a file', [{ source: file, start: 0, end: SIZE }], [content]],
      [
        'parts of it',
        [
          { source: file, start: 1, end: 218 },
          { source: file, start: 222, end: 223 },
          { source: file, start: 230, end: 230 },
          { source: file, start: 262144, end: SIZE - 1 },
        ],
        [content.subarray(1, 218), content.subarray(222, 223), content.subarray(262144, SIZE - 1)],
      ],
      [
        'a patched file',
        [{ source: patched, start: 3, end: patched.size - 2 }],
        [patchedContent.subarray(3, -2)],
      ],
      ['memory', [{ source: memory, start: 5, end: SIZE }], [content.subarray(5)]],
    ];
    for (const [what, parts, expected] of cases) {
      const options = { algorithm: 'sha256', checksum16: true, zeros: 5 };
      const [one, other] = await Promise.all([
        aside.hashRanges(parts, options),
        here.hashRanges(parts, options),
      ]);
      assert.equal(one.digest.toString('hex'), sha256(...expected, Buffer.alloc(5)), what);
      assert.deepEqual(one.digest, other.digest, what);
      assert.deepEqual(
        [one.checksum16.sum, one.checksum16.length],
        [other.checksum16.sum, other.checksum16.length],
        what,
      );
      assert.equal(one.checksum16.add(Buffer.from('x')).sum, other.checksum16.add(Buffer.from('x')).sum);
    }
  });

  it('copy what they hash', async () => {
    const to = await open(join(folder, 'copy'), 'wx');
    try {
      const { digest } = await aside.hashRanges([{ source: file, start: 3, end: SIZE }], {
        algorithm: 'sha384',
        copyTo: to,
      });
      assert.ok((await readFile(join(folder, 'copy'))).equals(content.subarray(3)));
      assert.ok(digest.equals(createHash('sha384').update(content.subarray(3)).digest()));
    } finally {
      await to.close();
    }
  });

  it('find the same first difference as this thread', async () => {
    const ranges = [
      { start: 0, end: 216 },
      { start: 220, end: SIZE },
    ];
    const difference = async (
      { firstDifference }: typeof here,
      one: FileSource,
      other: FileSource,
    ): Promise<number | undefined> => {
      const of = (source: FileSource): SourceRange[] => ranges.map((range) => ({ source, ...range }));
      const position = await firstDifference(of(one), of(other));
      return position === undefined ? undefined : offsetIn(ranges, position);
    };
    const path = join(folder, 'changed');
    await writeFile(path, content);
    const [change, other] = [await open(path, 'r+'), await FileSource.open(path)];
    try {
      assert.equal(await difference(aside, other, file), undefined);
      await change.write(Buffer.alloc(4, 0xa5), 0, 4, 216);
      assert.equal(await difference(aside, file, other), undefined);
      for (const at of [SIZE - 1, 1024 * 1024 + 221, 300_000, 262_144 + 4, 262_144, 220, 215, 0]) {
        await change.write(Buffer.of((content[at] ?? 0) ^ 1), 0, 1, at);
        assert.equal(await difference(aside, file, other), at);
        assert.equal(await difference(here, file, other), at);
      }
    } finally {
      await change.close();
      await other.close();
    }
  });

  it(`${CODE.file}: a file becomes shorter while it is hashed`, async () => {
    const short = join(folder, 'short');
    await writeFile(short, content);
    const source = await FileSource.open(short);
    try {
      await truncate(short, SIZE - 1);
      const parts = [{ source, start: 0, end: SIZE }];
      const wanted = {
        code: CODE.file,
        kind: 'local',
        message: `${short}: became shorter while it was read`,
      };
      await assert.rejects(aside.hashRanges(parts, { algorithm: 'sha256' }), wanted);
      await assert.rejects(here.hashRanges(parts, { algorithm: 'sha256' }), wanted);
      await assert.rejects(aside.firstDifference(parts, [{ source: file, start: 0, end: SIZE }]), wanted);
    } finally {
      await source.close();
    }
  });

  it(`${CODE.system}: system errors keep their code, and the thread stays usable`, async () => {
    const extents = [{ fd: 999_999, start: 0, end: SIZE, name: 'a file that is not open' }];
    const unopened = { size: SIZE, name: 'unopened', read: file.read.bind(file), extents: () => extents };
    const ranges = [{ source: unopened, start: 0, end: SIZE }];
    await assert.rejects(aside.hashRanges(ranges, { algorithm: 'sha256' }), { code: CODE.system });
    const { digest } = await aside.hashRanges([{ source: file, start: 0, end: SIZE }], { algorithm: 'sha1' });
    assert.equal(digest.length, 20);
  });

  /** Runs a program with a function `hash`, which starts to hash the large file. */
  const running = async (program: string): Promise<{ stdout: string; milliseconds: number }> => {
    const lines = [
      `import { hashRanges } from ${JSON.stringify(hashModule)};`,
      `import { FileSource } from ${JSON.stringify(source)};`,
      `const source = await FileSource.open(${JSON.stringify(path)});`,
      'const hash = () => hashRanges([{ source, start: 0, end: source.size }], { algorithm: "sha256" });',
      program,
    ];
    const begun = performance.now();
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--input-type=module',
      '--eval',
      lines.join('\n'),
    ]);
    return { stdout: stdout.trim(), milliseconds: performance.now() - begun };
  };

  it('keep the process running while they work, but not when they are idle', async () => {
    const { stdout, milliseconds } = await running(
      'void hash().then(({ digest }) => console.log(digest.toString("hex")));',
    );
    assert.equal(stdout, sha256(content));
    assert.ok(milliseconds < 4000, `${milliseconds} ms`);
  });

  it('do not keep a failed process running', async () => {
    const begun = performance.now();
    await assert.rejects(running('void hash(); throw new Error("something else failed");'), /something else/);
    assert.ok(performance.now() - begun < 4000);
  });
});
