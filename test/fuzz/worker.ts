/** What a thread of the fuzzer runs: one batch of executions after another, as the main thread asks. */
import { parentPort, workerData } from 'node:worker_threads';
import type { Input } from './exercise.ts';
import { LARGEST } from './mutate-bytes.ts';
import { Outcome } from './outcome.ts';
import { Random } from './random.ts';
import { TARGETS, type FuzzTarget } from './targets.ts';

/** A batch depends on nothing but this, and the seeds. */
export interface Batch {
  readonly target: string;
  readonly seed: string;
  readonly runs: number;
  readonly extraSeeds: readonly Input[];
}

/** An input with which something went wrong. */
export interface Crash {
  readonly target: string;
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly why: string;
}

export interface BatchResult {
  readonly target: string;
  readonly runs: number;
  /** Different outcomes that were seen. */
  readonly outcomes: number;
  readonly crashes: readonly Crash[];
  /** Inputs that verify as intact, though they were changed. */
  readonly unnoticed: readonly Crash[];
}

/** One execution takes no longer, in ms. */
export const SLOWEST = 1000;

/** One execution allocates no more in buffers, in bytes. */
const MEMORY = 256 * 1024 * 1024;

/** Inputs that are kept because they did something new. */
const MOST_KEPT = 2000;

/** The input in hand, for the main thread if this one hangs: its length, the number of executions, then its bytes. */
const inHand = (workerData as { shared: SharedArrayBuffer }).shared;
const lengths = new Int32Array(inHand, 0, 2);
const content = Buffer.from(inHand, 8);

let allocated = 0;
let counting = false;

class TooMuchMemory extends Error {}

/** Counts what is allocated, and refuses what no input of this size needs. */
function limitAllocations(): void {
  for (const method of ['alloc', 'allocUnsafe', 'allocUnsafeSlow'] as const) {
    const original = Buffer[method] as (size: number, ...rest: unknown[]) => Buffer;
    Object.assign(Buffer, {
      [method]: (size: number, ...rest: unknown[]) => {
        if (counting) allocated += size;
        if (allocated > MEMORY) throw new TooMuchMemory(`${allocated} bytes in buffers`);
        return original.call(Buffer, size, ...rest);
      },
    });
  }
}

/** Text that is the same for the same fault: the error, and the first places in the program that it passed. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = 'kind' in error && 'code' in error ? ` [${String(error.kind)} ${String(error.code)}]` : '';
  const places = (error.stack ?? '')
    .split('\n')
    .filter((line) => line.includes(' at '))
    .slice(0, 4);
  return [`${error.name}${code}: ${error.message}`, ...places.map((line) => line.trim())].join('\n');
}

/** Runs the target on one input; returns what went wrong, or null. */
async function execute(target: FuzzTarget, input: Input, outcome: Outcome): Promise<string | null> {
  content.set(input.bytes.subarray(0, LARGEST));
  lengths[0] = Math.min(input.bytes.length, LARGEST);
  Atomics.add(lengths, 1, 1);
  counting = true;
  const begun = process.cpuUsage();
  try {
    await target.run(input, outcome);
  } catch (error) {
    return describe(error);
  } finally {
    counting = false;
    allocated = 0;
  }
  const { user, system } = process.cpuUsage(begun);
  const took = (user + system) / 1000;
  return took > SLOWEST ? `slow: ${Math.round(took)} ms` : null;
}

/** The first and the last place where two files differ. */
function differences(one: Buffer, other: Buffer): string {
  const first = one.findIndex((byte, at) => byte !== other[at]);
  const last = one.findLastIndex((byte, at) => byte !== other[at]);
  return `from ${first} to ${last}; ${one.length} and ${other.length} bytes`;
}

async function runBatch({ target: name, seed, runs, extraSeeds }: Batch): Promise<BatchResult> {
  const target = TARGETS.find((each) => each.name === name);
  if (!target) throw new RangeError(`no target ${name}`);
  const random = new Random(seed);
  const kept: Input[] = [...(await target.seeds()), ...extraSeeds];
  if (kept.length === 0) kept.push({ name: 'empty', bytes: Buffer.alloc(64) });
  const seen = new Set<string>();
  const crashes: Crash[] = [];
  const unnoticed: Crash[] = [];
  const unchanged = [...kept];
  for (let run = 0; run < runs; run += 1) {
    const origin = random.pick(kept);
    const mutant = unchanged[run]?.bytes ?? (await target.mutate(origin, random.pick(kept), random));
    const input = { name: unchanged[run]?.name ?? origin.name, bytes: mutant };
    const outcome = new Outcome();
    const why = await execute(target, input, outcome);
    if (why !== null) crashes.push({ target: name, ...input, why });
    if (crashes.length >= 20) break;
    const isNew = run >= unchanged.length && !unchanged.some(({ bytes }) => bytes.equals(mutant));
    if (outcome.intact && isNew && unnoticed.length < 20)
      unnoticed.push({ target: name, ...input, why: `unnoticed: ${differences(origin.bytes, mutant)}` });
    if (why !== null || seen.has(outcome.text)) continue;
    seen.add(outcome.text);
    if (kept.length < MOST_KEPT) kept.push(input);
  }
  return { target: name, runs, outcomes: seen.size, crashes, unnoticed };
}

limitAllocations();
parentPort?.on('message', (batch: Batch) => {
  runBatch(batch).then(
    // eslint-disable-next-line unicorn/require-post-message-target-origin -- a thread is no window
    (result) => parentPort?.postMessage(result),
    // In a later turn, so that it ends this thread: the main thread reports it.
    (error: unknown) =>
      setImmediate(() => {
        throw error;
      }),
  );
});
