import { rm } from 'node:fs/promises';
import { gitEnvironment } from '../../world/site.ts';
import { small } from '../corpus/corpus.ts';
import { History } from '../history.ts';
import { interleaved, measure, median, signpipe, type Result, type Rounds, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { medianOf, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

/** The most commits to verify with git, which starts a process for each. */
const MOST_SHOWN = 500;
/** A longer history takes minutes to be read completely. */
const LONG = 10_000;

/** One request, refused since its file does not exist, by a signer with or without earlier state. */
async function measureRequest(place: Place, name: string, fresh: boolean): Promise<Sample> {
  if (fresh) await rm(place.world.at('signer-state'), { recursive: true, force: true });
  await place.world.request(`${name}.zip\n`);
  const { wall, cpu, rss } = await measure(place.watch());
  return { wall, cpu, rss };
}

/** The cost for git alone to see one new commit. */
async function gitFetch(place: Place, name: string, fresh: boolean): Promise<Sample> {
  const clone = place.world.at('growth');
  const env = { ...gitEnvironment(), GIT_SSH_COMMAND: `ssh -F ${place.sshConfig}` };
  const url = `ssh://far${place.world.control}`;
  if (fresh) await rm(clone, { recursive: true, force: true });
  else await place.world.request(`${name}.zip\n`);
  const command = fresh
    ? ['clone', '-q', '--bare', url, clone]
    : ['-C', clone, 'fetch', '-q', url, 'main:main'];
  const { wall, cpu, rss } = await measure(['git', ...command], { env });
  // It is answered at once, so that the next measurement does not include it.
  if (!fresh) await measure(place.watch());
  return { wall, cpu, rss };
}

const NEXT = 'signpipe: the next request';

/** The cost of the next request relative to that after the shortest history. */
function growthOf(results: readonly Result[], shortest: readonly Result[]): Target {
  const ratios = (['wall', 'cpu', 'rss'] as const).map((metric) => {
    const times = medianOf(results, NEXT, metric) / medianOf(shortest, NEXT, metric);
    return `${metric} ${times.toFixed(2)}x`;
  });
  return {
    what: `${NEXT}, to that after the shortest history`,
    target: 'does not grow',
    measured: ratios.join(', '),
  };
}

async function oneSize(
  place: Place,
  count: number,
  rounds: Rounds,
  shortest: Group | undefined,
): Promise<Group> {
  let serial = 0;
  const next = (): string => `grown-${count}-${(serial += 1)}`;
  const results = await interleaved(rounds, [
    { name: NEXT, ours: true, run: () => measureRequest(place, next(), false) },
    {
      name: 'signpipe: first start, without a clone',
      ours: true,
      slow: count > LONG,
      run: () => measureRequest(place, next(), true),
    },
    { name: 'git clone', ours: false, run: () => gitFetch(place, next(), true) },
    { name: 'git fetch of the next commit', ours: false, run: () => gitFetch(place, next(), false) },
  ]);
  return {
    title: `A control repository with ${count.toLocaleString('en')} answered requests`,
    results,
    notes: ['each sample of ours is a process that answers one request'],
    targets: shortest ? [growthOf(results, shortest.results)] : [],
  };
}

async function audited(place: Place, count: number, rounds: Rounds): Promise<Group> {
  const { world } = place;
  const shown = Math.min(MOST_SHOWN, 2 * count);
  const signers = world.at('keys', 'audit_signers');
  const ours = signpipe('audit', '--repo', world.control, '--allowed-signers', signers, '--json');
  const settings = ['-c', 'gpg.format=ssh', '-c', `gpg.ssh.allowedSignersFile=${signers}`];
  const theirs = [
    'git',
    '-C',
    world.control,
    ...settings,
    'log',
    '--show-signature',
    '--oneline',
    `-${shown}`,
    'signed',
  ];
  const plain = async (command: readonly string[]): Promise<Sample> => {
    const { wall, cpu, rss } = await measure(command, { env: gitEnvironment() });
    return { wall, cpu, rss };
  };
  const results = await interleaved(rounds, [
    { name: `signpipe audit, ${2 * count} commits`, ours: true, slow: count > LONG, run: () => plain(ours) },
    { name: `git log --show-signature, ${shown} commits`, ours: false, run: () => plain(theirs) },
  ]);
  const rates = results.map(({ name, samples }, at) => {
    const rate = (at === 0 ? 2 * count : shown) / median(samples.map(({ wall }) => wall));
    return `${name}: ${Math.round(rate)} commits per second`;
  });
  const [measured = ''] = rates;
  return {
    title: `Auditing ${count.toLocaleString('en')} answered requests`,
    results,
    notes: [...rates, 'the ratio in the table is of different numbers of commits; compare the rates'],
    targets: [{ what: 'auditing', target: '>= 2000 commits per second', measured }],
  };
}

/** How time and memory change as the history grows. */
export async function growth(place: Place, options: BenchOptions): Promise<Group[]> {
  const corpus = await small(options.work);
  await place.request(corpus);
  await place.ours(corpus, 0);
  const history = await History.of(place.world);
  const groups: Group[] = [];
  for (const count of options.full ? [100, 10_000, 100_000] : [100, 1000]) {
    await history.replaceBy(count);
    // No earlier state matches this history, so the signer starts without any.
    await measureRequest(place, `begin-${count}`, true);
    groups.push(await oneSize(place, count, options, groups[0]), await audited(place, count, options));
  }
  return groups;
}
