import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, open, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { encodeStreamName } from '../../../src/engine/formats/msi/stream-names.ts';
import { writeStreamAtomically } from '../../../src/lib/bytes/atomic-file.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';
import { ConcatenatedSource, whole } from '../../../src/lib/bytes/concatenated-source.ts';
import { readChunks } from '../../../src/lib/bytes/read-chunks.ts';
import { openCompoundFile } from '../../../src/lib/compound-file/compound-file.ts';
import { updateCompoundFile } from '../../../src/lib/compound-file/update.ts';
import { makeMsi } from '../../engine/formats/msi/make-msi.ts';
import { buildPe } from '../../fixtures/pe.ts';
import { program } from '../../fixtures/programs.ts';
import { interleaved, measure, signpipe, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { atMost, type Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

const run = promisify(execFile);
const MEGABYTE = 1_000_000;

/** Writes a program of `size` bytes, most of them an overlay that does not compress. */
async function largeProgram(path: string, size: number): Promise<void> {
  const file = await open(path, 'w');
  const block = randomBytes(16 * MEGABYTE);
  try {
    let { bytesWritten: written } = await file.write(buildPe());
    for (let round = 0; written < size; round += 1) {
      block.writeUInt32LE(round, 0);
      written += (await file.write(block, 0, Math.min(block.length, size - written))).bytesWritten;
    }
  } finally {
    await file.close();
  }
}

/** Writes a package of about `size` bytes, most of them one cabinet that does not compress. */
async function largePackage(path: string, size: number): Promise<void> {
  const block = new BufferSource(randomBytes(16 * MEGABYTE), 'block');
  const blocks = Array.from({ length: Math.ceil(size / block.size) }, () => whole(block));
  const file = await openCompoundFile(new BufferSource(makeMsi({ version: 4 }), 'base.msi'));
  const name = encodeStreamName('large.cab');
  const made = await updateCompoundFile(file, {
    write: [{ name, content: new ConcatenatedSource(blocks, name) }],
  });
  await writeStreamAtomically(path, readChunks(made));
}

interface LargeFile {
  readonly what: string;
  readonly name: string;
  /** In MB, without and with `--full`. */
  readonly sizes: readonly [number, number];
  /** How many times the time of osslsigncode ours may take. */
  readonly times: number;
  make(path: string, size: number): Promise<void>;
}

const PROGRAM: LargeFile = {
  what: 'program',
  name: 'large.exe',
  sizes: [100, 1000],
  times: 1.1,
  make: largeProgram,
};
const PACKAGE: LargeFile = {
  what: 'package',
  name: 'large.msi',
  sizes: [302, 302],
  times: 1,
  make: largePackage,
};

async function signing(output: string, command: readonly string[]): Promise<Sample> {
  await rm(output, { force: true });
  const { wall, cpu, rss } = await measure(command);
  return { wall, cpu, rss };
}

/** `signpipe sign` and `osslsigncode sign` on one large file. */
async function oneLarge(place: Place, options: BenchOptions, large: LargeFile): Promise<Group> {
  const size = large.sizes[options.full ? 1 : 0] * MEGABYTE;
  const input = place.world.at(large.name);
  const output = place.world.at(`signed-${large.name}`);
  await large.make(input, size);
  const { url } = await place.authority(0);
  const ours = signpipe('sign', input, ...place.signOptions(), '--timestamp', url, '--output', output);
  const metadata = large === PACKAGE ? ['-add-msi-dse'] : [];
  const theirs = [...place.osslsigncode(), ...metadata, '-ts', url, '-in', input, '-out', output];
  const [mine, other] = ['signpipe sign', 'osslsigncode sign'];
  const run = (command: readonly string[]): Promise<Sample> => signing(output, command);
  const results = await interleaved({ repetitions: options.repetitions, memory: 2 * size }, [
    { name: mine, ours: true, run: () => run(ours) },
    { name: `${mine} --json: also SHA-256 of both`, ours: true, run: () => run([...ours, '--json']) },
    { name: other, ours: false, run: () => run(theirs) },
    {
      name: 'osslsigncode sign, then verify',
      ours: false,
      run: async () => {
        const signed = await run(theirs);
        const roots = ['-CAfile', place.world.at('ca.pem'), '-TSA-CAfile', place.world.at('tsa.pem')];
        const verified = await measure(['osslsigncode', 'verify', ...roots, '-in', output]);
        return {
          wall: signed.wall + verified.wall,
          cpu: (signed.cpu ?? 0) + verified.cpu,
          rss: verified.rss,
        };
      },
    },
  ]);
  await signing(output, ours);
  await place.checkProgram(output);
  await rm(input);
  await rm(output);
  return {
    title: `One ${large.what} of ${size / MEGABYTE} MB`,
    results,
    notes: ['ours verifies its result, proves that only a signature was added, and flushes to disk'],
    targets: [
      atMost(results, mine, 'wall', { times: large.times, theirs: other }),
      atMost(results, mine, 'rss', 150e6),
    ],
  };
}

const PARTS = 2;

/** A zip64 archive of zeros, stored, sparse on the disk, with two programs of ours; made once. */
async function hugeZip(work: string): Promise<string> {
  const folder = join(work, 'corpus');
  const zip = join(folder, 'huge.zip');
  if ((await stat(zip).catch(() => null)) !== null) return zip;
  await mkdir(folder, { recursive: true });
  const stage = await mkdtemp(join(folder, 'stage-'));
  await mkdir(join(stage, 'product'));
  await copyFile((await program('7za-x64.exe')).path, join(stage, 'product/first.exe'));
  await copyFile((await program('7za-x86.exe')).path, join(stage, 'product/last.exe'));
  const zeros = Array.from({ length: PARTS }, (_, at) => `product/part${at}.bin`);
  for (const path of zeros) await run('truncate', ['-s', '3G', join(stage, path)]);
  await run('zip', ['-q', '-X', '-0', 'huge.zip', 'product/first.exe', ...zeros, 'product/last.exe'], {
    cwd: stage,
  });
  await run('fallocate', ['--dig-holes', 'huge.zip'], { cwd: stage });
  await rename(join(stage, 'huge.zip'), zip);
  await rm(stage, { recursive: true });
  return zip;
}

async function zipUpdate(place: Place, huge: string, url: string): Promise<Sample> {
  const folder = place.world.at('update');
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  const sign = (path: string): string =>
    `${place.osslsigncode().join(' ')} -ts ${url} -in ${path} -out ${path}.s >/dev/null && mv ${path}.s ${path}`;
  const script = `set -e; cp --sparse=always ${huge} out.zip; unzip -q out.zip 'product/*.exe'
for f in product/first.exe product/last.exe; do ${sign('$f')}; done
zip -q -X -u out.zip product/first.exe product/last.exe`;
  const { wall, cpu, rss } = await measure(['bash', '-c', script], { cwd: folder });
  await rm(folder, { recursive: true });
  return { wall, cpu, rss };
}

/** A zip of more than 4 GiB: shows that it works, how long it takes and that memory stays flat. */
async function huge(place: Place, options: BenchOptions): Promise<Group> {
  const input = await hugeZip(options.work);
  const output = place.world.at('huge.signed.zip');
  const { url } = await place.authority(0);
  const files = ['--files', '**/*.exe'];
  const command = signpipe(
    'sign',
    input,
    ...place.signOptions(),
    '--timestamp',
    url,
    ...files,
    '--output',
    output,
  );
  const mine = 'signpipe sign';
  const results = await interleaved(options.repetitions, [
    {
      name: mine,
      ours: true,
      run: async () => {
        await rm(output, { force: true });
        const { wall, cpu, rss } = await measure(command);
        return { wall, cpu, rss };
      },
    },
    { name: 'unzip, osslsigncode, zip -u', ours: false, run: () => zipUpdate(place, input, url) },
  ]);
  await place.check(output, ['product/first.exe', 'product/last.exe']);
  await rm(output);
  return {
    title: 'A zip64 archive of 6 GB, 2 programs of ours in it',
    results,
    notes: [],
    targets: [atMost(results, mine, 'rss', 300e6)],
  };
}

export async function files(place: Place, options: BenchOptions): Promise<Group[]> {
  return [
    await oneLarge(place, options, PROGRAM),
    await oneLarge(place, options, PACKAGE),
    ...(options.full ? [await huge(place, options)] : []),
  ];
}
