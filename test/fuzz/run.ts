/**
 * What `npm run fuzz` runs: node --import tsx test/fuzz/run.ts [--only NAME,NAME] [--runs N] [--seed TEXT] [--seeds FOLDER]
 * [--crashes FOLDER] [--threads N]
 *
 * Gives changed files to every parser: each format's recognition, opening, digest, verification, container and removal
 * of signatures, and the readers of zips and DER. Anything but success or an `invalid` error is a crash, and so is an
 * execution that takes over a second of processor time or 256 MiB of buffers, or after which the file cannot be read again.
 * Inputs that do something new are changed further. The same seed gives the same executions, on any number of threads.
 * Crashing inputs go to the folder `--crashes`; the exit status is 1 if there are any. So do some of the signed files that
 * were changed and still verify as intact ("unnoticed"): docs/formats.md has to explain them.
 */
import { build } from 'esbuild';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { LARGEST } from './mutate-bytes.ts';
import type { Input } from './exercise.ts';
import type { Batch, BatchResult, Crash } from './worker.ts';

/** Executions that share what they learned, and are done by one thread. */
const BATCH = 20_000;

/** How long an execution may last, in ms, before it counts as one that hangs: the machine may be busy. */
const SILENCE = 30_000;

const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    runs: { type: 'string', default: '100000' },
    seed: { type: 'string', default: '1' },
    seeds: { type: 'string' },
    crashes: { type: 'string', default: 'fuzz-crashes' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Compiles a script of this folder into one file: much faster to start, and a little to run. */
async function compile(name: string, folder: string): Promise<string> {
  const outfile = join(folder, name.replace(/ts$/, 'cjs'));
  await build({
    entryPoints: [here(name)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    define: { 'import.meta.url': JSON.stringify(new URL(name, import.meta.url).href) },
    logLevel: 'error',
  });
  return outfile;
}

/** The names of all targets. */
async function targetNames(folder: string): Promise<string[]> {
  const { createRequire } = await import('node:module');
  const script = await compile('targets.ts', folder);
  const { TARGETS } = createRequire(import.meta.url)(script) as { TARGETS: readonly { name: string }[] };
  return TARGETS.map(({ name }) => name);
}

async function readFolder(folder: string | undefined): Promise<Input[]> {
  if (folder === undefined) return [];
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const inputs = await Promise.all(
    files.sort().map(async (path) => ({ name: basename(path), bytes: await readFile(path) })),
  );
  return inputs.filter(({ bytes }) => bytes.length > 0 && bytes.length <= LARGEST);
}

/** A thread, and what it is doing. */
class Runner {
  private readonly shared = new SharedArrayBuffer(8 + LARGEST);
  private worker: Worker | undefined;

  constructor(private readonly script: string) {}

  run(batch: Batch): Promise<BatchResult> {
    this.worker ??= new Worker(this.script, {
      workerData: { shared: this.shared },
      resourceLimits: { maxOldGenerationSizeMb: 1024 },
      env: { ...process.env, FUZZ_SIGNER: here('signer.pem') },
      execArgv: [],
    });
    const { worker } = this;
    return new Promise((resolve) => {
      let last = -1;
      const timer = setInterval(() => {
        const executions = this.executions();
        if (executions === last) finish(`hangs: over ${SILENCE} ms`);
        last = executions;
      }, SILENCE);
      const finish = (result: BatchResult | string): void => {
        clearInterval(timer);
        for (const event of ['message', 'error', 'exit']) worker.removeAllListeners(event);
        if (typeof result !== 'string') return resolve(result);
        void worker.terminate();
        this.worker = undefined;
        const { target, runs } = batch;
        return resolve({ target, runs, outcomes: 0, crashes: [this.inHand(target, result)], unnoticed: [] });
      };
      worker.on('message', finish);
      worker.on('error', (error) => finish(`the thread ended: ${error.stack ?? error.message}`));
      worker.on('exit', (status) => finish(`the thread ended with ${status}`));
      // eslint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
      worker.postMessage(batch);
    });
  }

  private executions(): number {
    return Atomics.load(new Int32Array(this.shared, 0, 2), 1);
  }

  async end(): Promise<void> {
    await this.worker?.terminate();
  }

  private inHand(target: string, why: string): Crash {
    const [length = 0] = new Int32Array(this.shared, 0, 2);
    return { target, name: 'in-hand', bytes: Buffer.from(Buffer.from(this.shared, 8, length)), why };
  }
}

interface Tally {
  runs: number;
  outcomes: number;
  crashes: number;
  unnoticed: number;
  ms: number;
}

async function save(crash: Crash, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const id = createHash('sha256').update(crash.bytes).digest('hex').slice(0, 12);
  const path = join(folder, `${crash.target}-${id}${extname(crash.name)}`);
  await writeFile(path, crash.bytes);
  await writeFile(`${path}.txt`, `${crash.why}\n`);
  console.log(`${path}\n  ${crash.why.split('\n').slice(0, 3).join('\n  ')}`);
}

/** The first line of a crash without numbers: of many equal ones a few are enough. */
const kindOf = ({ target, why }: Crash): string =>
  `${target} ${why.split('\n').slice(0, 2).join().replace(/\d+/g, '#')}`;

async function fuzz(script: string, batches: Batch[]): Promise<Map<string, Tally>> {
  const tallies = new Map<string, Tally>();
  const kinds = new Map<string, number>();
  const work = async (): Promise<void> => {
    const runner = new Runner(script);
    for (let batch = batches.shift(); batch; batch = batches.shift()) {
      const begun = performance.now();
      const result = await runner.run(batch);
      const tally = tallies.get(batch.target) ?? { runs: 0, outcomes: 0, crashes: 0, unnoticed: 0, ms: 0 };
      tallies.set(batch.target, {
        runs: tally.runs + result.runs,
        outcomes: Math.max(tally.outcomes, result.outcomes),
        crashes: tally.crashes + result.crashes.length,
        unnoticed: tally.unnoticed + result.unnoticed.length,
        ms: tally.ms + performance.now() - begun,
      });
      for (const crash of [...result.crashes, ...result.unnoticed]) {
        const times = kinds.get(kindOf(crash)) ?? 0;
        kinds.set(kindOf(crash), times + 1);
        if (times < 3) await save(crash, values.crashes);
      }
    }
    await runner.end();
  };
  await Promise.all(Array.from({ length: Number(values.threads) }, work));
  return tallies;
}

async function main(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-fuzz-'));
  try {
    process.env['FUZZ_SIGNER'] = here('signer.pem');
    const all = await targetNames(folder);
    const only = values.only?.split(',');
    const names = only ? all.filter((name) => only.includes(name)) : all;
    if (names.length === 0) {
      console.error(`no such target; there are ${all.join(', ')}`);
      return 2;
    }
    const extraSeeds = await readFolder(values.seeds);
    const rounds = Math.ceil(Number(values.runs) / BATCH);
    const batches = Array.from({ length: rounds }, (_, round) =>
      names.map((target) => ({
        target,
        seed: `${values.seed} ${target} ${round}`,
        runs: Math.min(BATCH, Number(values.runs) - round * BATCH),
        extraSeeds,
      })),
    ).flat();
    const tallies = await fuzz(await compile('worker.ts', folder), batches);
    for (const [name, { runs, outcomes, crashes, unnoticed, ms }] of tallies)
      console.log(
        `${name.padEnd(14)}${String(runs).padStart(10)} runs ${String(Math.round((runs * 1000) / ms)).padStart(7)}/s ${String(outcomes).padStart(5)} outcomes ${String(crashes).padStart(4)} crashes ${String(unnoticed).padStart(4)} unnoticed`,
      );
    return [...tallies.values()].some(({ crashes }) => crashes > 0) ? 1 : 0;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main();
