import type { Corpus } from '../corpus/corpus.ts';
import { large, many, small } from '../corpus/corpus.ts';
import { interleaved, type Result, type Way } from '../measure.ts';
import type { Place } from '../place.ts';
import type { Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** The bytes over SSH of each way, from a run that is not timed. */
async function withBytes(place: Place, ways: readonly Way[], results: readonly Result[]): Promise<Result[]> {
  const counted: Result[] = [];
  for (const [at, result] of results.entries()) {
    const bytes = await place.bytes(async () => ways[at]?.run());
    counted.push({ ...result, samples: result.samples.map((sample) => ({ ...sample, ...bytes })) });
  }
  return counted;
}

/** The whole job, from the poll that sees the commit to the receipt pushed, against today's script. */
async function job(
  place: Place,
  corpus: Corpus,
  delayMs: number,
  today: readonly { name: string; pack: string; jobs?: number }[],
  repetitions: number,
  counts: boolean,
): Promise<Group> {
  const ours = (name: string, pinned: 'zip' | 'entries'): Way => ({
    name,
    ours: true,
    run: async () => {
      await place.request(corpus, pinned);
      return place.ours(corpus, delayMs);
    },
  });
  const ways: Way[] = [
    ours('signpipe', 'zip'),
    // A request names a hundred lines at most.
    ...(corpus.ours.length <= 20 ? [ours('signpipe, programs pinned: the rest stays there', 'entries')] : []),
    ...today.map(({ name, ...settings }): Way => ({
      name,
      ours: false,
      run: () => place.today(corpus, delayMs, settings),
    })),
  ];
  await place.request(corpus);
  await place.ours(corpus, delayMs);
  const timed = await interleaved(repetitions, ways);
  const results = counts ? await withBytes(place, ways, timed) : timed;
  const checked = corpus.ours.filter((_, at) => at % Math.ceil(corpus.ours.length / 10) === 0);
  await place.check(place.world.exchange('signed', `${corpus.name}.zip`), checked);
  await place.check(place.world.exchange(`today-${corpus.name}.zip`), checked);
  return {
    title: `${corpus.name}: zip of ${Math.round(corpus.size / 1e6)} MB, ${corpus.ours.length} programs of ours, authority answers after ${delayMs} ms`,
    results,
    notes: ['ours is a whole process: start of Node, configuration and connecting are in it'],
  };
}

/** A release with a few large programs of ours in it. */
export async function release(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = options.full ? await large(options.work) : await small(options.work);
  const ways = [
    { name: 'script: unzip, osslsigncode, zip', pack: 'full' },
    { name: 'script: zip -u', pack: 'zip-u' },
    { name: 'script: zip -u -1', pack: 'zip-u-1' },
  ];
  return [await job(place, corpus, 0, ways, options.repetitions, true)];
}

/** Very many small programs, all of them ours. */
export async function programs(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = await many(options.work, options.full ? 1000 : 100);
  const ways = [
    { name: 'script: osslsigncode, one by one', pack: 'full' },
    { name: 'script: osslsigncode, 8 at a time', pack: 'full', jobs: 8 },
  ];
  return [
    await job(place, corpus, 0, ways, options.repetitions, false),
    await job(place, corpus, 100, ways, options.repetitions, false),
  ];
}
