/**
 * The signer of year.systems.ts, in a process of its own whose time of day the test sets. It polls without pauses, and
 * reports what it uses: node --expose-gc --import tsx year-signer.ts SIGNER.YAML
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { pino } from 'pino';
import { loadSignerConfig } from '../../src/app/config/signer.ts';
import { openSignerContext } from '../../src/app/signer/context/signer-context.ts';
import { Movement } from '../../src/app/signer/supervisor/movement.ts';
import { watch } from '../../src/app/signer/supervisor/watch.ts';
import { noProgress } from '../../src/lib/progress.ts';

/** What the test asks for. */
export type Order =
  | { readonly kind: 'clock'; readonly ahead: number }
  | { readonly kind: 'measure' | 'stop' };

/** What the signer uses after a collection of garbage, in bytes and in numbers, and what it has done. */
export interface Measured {
  readonly rss: number;
  readonly heap: number;
  readonly external: number;
  readonly descriptors: number;
  readonly children: number;
  readonly polls: number;
  readonly failed: number;
  readonly answered: number;
  /** Milliseconds of processor time. */
  readonly cpu: number;
}

let ahead = 0;
const RealDate = Date;
/** The time of day, which is ahead of the real one. */
globalThis.Date = class extends RealDate {
  constructor(...args: []) {
    if (args.length === 0) super(RealDate.now() + ahead);
    else super(...args);
  }
  static override now(): number {
    return RealDate.now() + ahead;
  }
} as DateConstructor;

/** How much of the year the monotonic clock has skipped, in ms: heartbeats and housekeeping go by it. */
let skipped = 0;
const realNow = performance.now.bind(performance);
performance.now = () => realNow() + skipped;

function setClock(to: number): void {
  skipped += Math.max(0, to - ahead);
  ahead = to;
}

const done = { polls: 0, failed: 0, answered: 0 };

/** Child processes, without the `ps` that lists them and its shell. */
const children = (): number =>
  execFileSync('ps', ['-o', 'pid=', '--ppid', String(process.pid)], { encoding: 'utf8' })
    .trim()
    .split('\n').length - 1;

function measure(): Measured {
  for (let round = 0; round < 3; round += 1) globalThis.gc?.();
  const { rss, heapUsed: heap, external } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const descriptors = readdirSync('/proc/self/fd').length;
  return { rss, heap, external, descriptors, children: children(), cpu: (user + system) / 1000, ...done };
}

const [file = ''] = process.argv.slice(2);
const stop = new AbortController();
process.on('message', (order: Order) => {
  if (order.kind === 'clock') setClock(order.ahead);
  else if (order.kind === 'stop') stop.abort();
  else process.send?.(measure());
});

const config = await loadSignerConfig(file);
const context = await openSignerContext(
  { ...config, control: { ...config.control, poll: 1 } },
  {
    log: pino({ base: null }, pino.destination({ dest: 1, sync: true })),
    progress: noProgress,
  },
);
const onPolled = (result: { answered: number } | null): void => {
  done.polls += 1;
  if (result) done.answered += result.answered;
  else done.failed += 1;
};
await watch(context, { signal: stop.signal, movement: new Movement(), onPolled });
await context.close();
process.disconnect();
