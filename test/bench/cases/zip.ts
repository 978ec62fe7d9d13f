import type { Corpus } from '../corpus/corpus.ts';
import { large, many, small } from '../corpus/corpus.ts';
import { interleaved, type Result, type Sample, type Way } from '../measure.ts';
import type { Place } from '../place.ts';
import { atMost, timesAsFast, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** The rows of ours; the others are compared with the first. */
const WHOLE = 'signpipe';
const SPARSE = 'signpipe, programs pinned (sparse)';

/** One of today's ways: settings of today.sh. */
interface Script {
  readonly name: string;
  readonly pack: string;
  readonly jobs?: number;
  readonly slow?: boolean;
}

interface Job {
  readonly corpus: Corpus;
  /** The authority answers after this many ms. */
  readonly delayMs: number;
  readonly today: readonly Script[];
  /** Whether the programs of ours are few enough to be pinned one by one. */
  readonly sparse: boolean;
  readonly targets: (results: readonly Result[]) => readonly Target[];
}

/** Our ways to sign one request: the zip pinned, or each program of ours in it. */
const ourWays = (sparse: boolean): readonly (readonly [name: string, pinned: 'zip' | 'entries'])[] => [
  [WHOLE, 'zip'],
  ...(sparse ? [[SPARSE, 'entries'] as const] : []),
];

/** First a request to a signer that has just started, then all ways interleaved; the signer keeps polling. */
async function timed(place: Place, job: Job, options: BenchOptions): Promise<Result[]> {
  const { corpus, delayMs, today, sparse } = job;
  const { repetitions, slowOnce } = options;
  return place.running(corpus, delayMs, async (signer) => {
    const first = await place.answered(signer, corpus, delayMs, 'zip');
    const ours = ourWays(sparse).map(([name, pinned]): Way => ({
      name,
      ours: true,
      run: () => place.answered(signer, corpus, delayMs, pinned),
    }));
    const theirs = today.map(({ name, slow = false, ...settings }): Way => ({
      name,
      ours: false,
      slow,
      run: () => place.today(corpus, delayMs, settings),
    }));
    const memory = 5 * corpus.size;
    const results = await interleaved({ repetitions, slowOnce, memory }, [...ours, ...theirs]);
    return [
      ...results,
      { name: 'signpipe, the first request after its start', ours: true, samples: [first] },
    ];
  });
}

/** Adds the bytes over SSH of each of our ways, from a run that is not timed; today's script counts in every run. */
async function withBytes(place: Place, job: Job, results: readonly Result[]): Promise<Result[]> {
  const { corpus, delayMs, sparse } = job;
  const counted = new Map<string, Pick<Sample, 'sent' | 'received'>>();
  for (const [name, pinned] of ourWays(sparse)) {
    await place.request(corpus, pinned);
    counted.set(name, await place.bytes(() => place.ours(corpus, delayMs)));
  }
  return results.map((result) => ({
    ...result,
    samples: result.samples.map((sample) => ({ ...sample, ...counted.get(result.name) })),
  }));
}

/** The whole job, from the poll that sees the commit until the receipt is pushed, compared with today's script. */
async function measured(place: Place, job: Job, options: BenchOptions): Promise<Group> {
  const { corpus, delayMs } = job;
  await place.request(corpus);
  const once = await place.ours(corpus, delayMs);
  const results = [
    ...(await withBytes(place, job, await timed(place, job, options))),
    { name: 'signpipe watch --once', ours: true, samples: [once] },
  ];
  const checked = corpus.ours.filter((_, at) => at % Math.ceil(corpus.ours.length / 10) === 0);
  await place.check(place.world.exchange('signed', `${corpus.name}.zip`), checked);
  await place.check(place.world.exchange(`today-${corpus.name}.zip`), checked);
  return {
    title: `${corpus.name}: zip of ${Math.round(corpus.size / 1e6)} MB, ${corpus.ours.length} programs of ours, authority answers after ${delayMs} ms`,
    results,
    notes: [
      'from the poll, or the fetch, that sees the commit until the receipt is pushed; ours by a running signer (`watch`), each time another request',
    ],
    targets: job.targets(results),
  };
}

/** A release with a few large programs of ours in it. */
export async function release(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = options.full ? await large(options.work) : await small(options.work);
  const [full, update, fast] = ['script: unzip, osslsigncode, zip', 'script: zip -u', 'script: zip -u -1'];
  const targets = (results: readonly Result[]): Target[] => [
    timesAsFast(results, WHOLE, full, 12),
    timesAsFast(results, WHOLE, update, 2.5),
    timesAsFast(results, WHOLE, fast, 1),
    atMost(results, WHOLE, 'rss', 250e6),
    atMost(results, WHOLE, 'scratch', corpus.size),
    atMost(results, SPARSE, 'rss', 250e6),
    atMost(results, SPARSE, 'scratch', 0),
  ];
  const today = [
    { name: full, pack: 'full' },
    { name: update, pack: 'zip-u' },
    { name: fast, pack: 'zip-u-1' },
  ];
  return [await measured(place, { corpus, delayMs: 0, today, sparse: true, targets }, options)];
}

/** Many small programs, all of them ours. */
export async function programs(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = await many(options.work, options.full ? 1000 : 100);
  const [one, eight] = ['script: osslsigncode, one by one', 'script: osslsigncode, 8 at a time'];
  const today = [
    { name: one, pack: 'full', slow: true },
    { name: eight, pack: 'full', jobs: 8 },
  ];
  const targets = (results: readonly Result[]): Target[] => [
    timesAsFast(results, WHOLE, one, 12),
    timesAsFast(results, WHOLE, eight, 2.5),
    atMost(results, WHOLE, 'cpu', { times: 0.5, theirs: eight }),
  ];
  const job = { corpus, today, sparse: false };
  return [
    await measured(place, { ...job, delayMs: 0, targets: () => [] }, options),
    await measured(place, { ...job, delayMs: 100, targets }, options),
  ];
}
