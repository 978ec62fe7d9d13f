import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export const root = resolve(import.meta.dirname, '../..');
const WAIT4 = join(import.meta.dirname, 'wait4.py');

/** The cost of one run of one way of doing something. */
export interface Sample {
  /** Seconds from start to end. */
  readonly wall: number;
  /** Seconds of CPU of the process and all it started; the remote host and the authority are not included. */
  readonly cpu?: number;
  /** Largest resident set of any single process, in bytes. */
  readonly rss?: number;
  /** The largest size of the work folder, in bytes. */
  readonly scratch?: number;
  /** Bytes sent and received over SSH. */
  readonly sent?: number;
  readonly received?: number;
  /** Seconds of CPU of the timestamp authority meanwhile. */
  readonly authority?: number;
  /** Seconds by stage. */
  readonly stages?: Readonly<Record<string, number>>;
}

export interface Measured extends Sample {
  readonly cpu: number;
  readonly rss: number;
  readonly stdout: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** A folder whose size is watched while the command runs. */
  readonly watchFolder?: string;
  readonly expectStatus?: number;
}

/** The least time between two looks at a folder, in milliseconds. */
const LOOK_EVERY = 50;

interface Report {
  readonly wall: number;
  readonly cpu: number;
  readonly rss: number;
  readonly status: number;
}

async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        // Of a sparse file, only what is on disk.
        ({ size, blocks }) => Math.min(size, blocks * 512),
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

/** Watches a folder's size until the returned function is called, which returns the largest size seen. */
export function watchSize(folder: string): () => Promise<number> {
  const stop = new AbortController();
  let largest = 0;
  const look = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const begun = performance.now();
      largest = Math.max(largest, await sizeOf(folder));
      // Many small files take long to count: watching must not slow down what is watched.
      const pause = Math.max(LOOK_EVERY, 20 * (performance.now() - begun));
      await sleep(pause, undefined, { signal: stop.signal }).catch(() => {});
    }
  };
  const looking = look();
  return async () => {
    stop.abort();
    await looking;
    return largest;
  };
}

/** Runs a command to its end and returns its cost; throws if it fails. */
export async function measure(command: readonly string[], options: RunOptions = {}): Promise<Measured> {
  const settle = options.watchFolder === undefined ? undefined : watchSize(options.watchFolder);
  const child = spawn('python3', [WAIT4, ...command], {
    cwd: options.cwd,
    env: options.env ?? process.env,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const texts = ['', '', ''];
  [child.stdout, child.stderr, child.stdio[3]].forEach((stream, at) =>
    stream?.on('data', (data: Buffer) => (texts[at] += data.toString())),
  );
  await new Promise((done, failed) => child.once('close', done).once('error', failed));
  const [stdout = '', stderr = '', reported = ''] = texts;
  const scratch = await settle?.();
  const report = reported === '' ? null : (JSON.parse(reported) as Report);
  if (!report || report.status !== (options.expectStatus ?? 0))
    throw new Error(
      `${command.join(' ')}: status ${report?.status}\n${stdout.slice(-2000)}${stderr.slice(-2000)}`,
    );
  const { wall, cpu, rss } = report;
  return { wall, cpu, rss, stdout, ...(scratch === undefined ? {} : { scratch }) };
}

/** The command line of the compiled program. */
export const signpipe = (...args: string[]): string[] => [
  process.execPath,
  join(root, 'dist/main.js'),
  ...args,
];

export function sha256Of(path: string): Promise<string> {
  return new Promise((done, failed) => {
    const hash = createHash('sha256');
    createReadStream(path, { highWaterMark: 1 << 20 })
      .on('data', (chunk) => hash.update(chunk))
      .on('end', () => done(hash.digest('hex')))
      .on('error', failed);
  });
}

/** A way of doing something, run several times. */
export interface Way {
  readonly name: string;
  /** Whether it is one of ours. Ours come first; all are compared with the first. */
  readonly ours: boolean;
  /** So slow that it runs only once with `slowOnce`. */
  readonly slow?: boolean;
  readonly run: () => Promise<Sample>;
}

/** The samples of one way. */
export interface Result {
  readonly name: string;
  readonly ours: boolean;
  readonly samples: readonly Sample[];
}

/** How often and under which conditions ways are run. */
export interface Rounds {
  readonly repetitions: number;
  /** Whether slow ways run only once. */
  readonly slowOnce?: boolean;
  /** Bytes of memory to touch before each run; none unless given. */
  readonly memory?: number;
}

/** Bytes of zeros that are written at a time. */
const STEP = 16 * 2 ** 20;

/**
 * Writes `size` bytes and removes them. A virtual machine may get its memory from its host only when it is used, and
 * give it back soon after; without this, a different way would pay for that each time.
 */
async function touchMemory(size: number): Promise<void> {
  const path = join(tmpdir(), 'touched');
  const file = await open(path, 'w');
  for (let at = 0; at < size; at += STEP) await file.write(Buffer.alloc(STEP), 0, STEP, at);
  await file.close();
  await rm(path);
}

/**
 * Runs every way once, then all again in another order, so that a slow minute of the machine affects all equally, and
 * what one way leaves in caches does not always affect the same other.
 */
export async function interleaved(rounds: number | Rounds, ways: readonly Way[]): Promise<Result[]> {
  const {
    repetitions,
    slowOnce = false,
    memory = 0,
  } = typeof rounds === 'number' ? { repetitions: rounds } : rounds;
  const samples = ways.map((): Sample[] => []);
  for (let round = 0; round < repetitions; round += 1) {
    for (let step = 0; step < ways.length; step += 1) {
      const turn = (step + (round >> 1)) % ways.length;
      const at = round % 2 === 0 ? turn : ways.length - 1 - turn;
      const way = ways[at];
      if (!way || (slowOnce && way.slow && round > 0)) continue;
      // Unwritten data of one way must not be written while the next one is measured.
      await promisify(execFile)('sync');
      await touchMemory(memory);
      samples[at]?.push(await way.run());
    }
  }
  return ways.map(({ name, ours }, at) => ({ name, ours, samples: samples[at] ?? [] }));
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low = NaN, high = NaN] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return (low + high) / 2;
}
