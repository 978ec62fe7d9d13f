import { rm } from 'node:fs/promises';
import { gitEnvironment } from '../../world/site.ts';
import { small } from '../corpus/corpus.ts';
import { History } from '../history.ts';
import { interleaved, measure, signpipe, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { medianOf, type Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

const CLONE = 'status of a clone';

/** One look at the queue, each in a process of its own. */
export async function status(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = await small(options.work);
  await place.request(corpus);
  await place.ours(corpus, 0);
  const count = options.full ? 100_000 : 1000;
  await (await History.of(place.world)).replaceBy(count);
  const { world } = place;
  const cache = world.at('cache');
  const clone = ['status', world.control, '--allowed-signers', world.at('keys', 'audit_signers')];
  const look = async (args: readonly string[], fresh = false): Promise<Sample> => {
    if (fresh) await rm(cache, { recursive: true, force: true });
    const env = { ...gitEnvironment(), XDG_CACHE_HOME: cache };
    const { wall, cpu, rss } = await measure(signpipe(...args), { env });
    return { wall, cpu, rss };
  };
  const builder = ['status', '-c', world.site.builderConfig];
  await look(builder);
  const results = await interleaved(options, [
    { name: 'status of a clone, the first look', ours: true, run: () => look(clone, true) },
    { name: CLONE, ours: true, run: () => look(clone) },
    { name: 'status for a builder, with a fetch', ours: true, run: () => look(builder) },
  ]);
  return [
    {
      title: `Status after ${count.toLocaleString('en')} answered requests`,
      results,
      notes: [],
      targets: [
        { what: CLONE, target: '< 0.3 s', measured: `${medianOf(results, CLONE, 'wall').toFixed(2)} s` },
      ],
    },
  ];
}
