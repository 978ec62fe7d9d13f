import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gitEnvironment } from '../../world/site.ts';
import { interleaved, measure, median, root, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import type { PollReport } from '../poll-child.ts';
import { threadsCpuOf } from '../process.ts';
import { atMost, seconds, type Group } from '../report.ts';
import type { RunningSigner } from '../running.ts';
import type { BenchOptions } from '../run.ts';

const run = promisify(execFile);

const OURS = 'signpipe: Signer.poll()';
/** How long an idle signer is watched, in seconds. */
const REST = 10;

/** Many polls in one process; a sample is the median poll. */
async function ourPolls(place: Place, count: number): Promise<Sample> {
  const child = join(import.meta.dirname, '../poll-child.ts');
  const { stdout } = await run(
    process.execPath,
    ['--import', 'tsx', child, place.world.site.signerConfig, String(count)],
    { cwd: root },
  );
  const { walls, cpu, rss } = JSON.parse(stdout) as PollReport;
  return { wall: median(walls) / 1000, cpu: cpu / count / 1000, rss };
}

async function gitRuns(args: readonly string[], ssh: string, clone: string, count: number): Promise<Sample> {
  const env = { ...gitEnvironment(), GIT_SSH_COMMAND: ssh };
  const samples: Sample[] = [];
  for (let done = 0; done < count; done += 1)
    samples.push(await measure(['git', '-C', clone, ...args], { env }));
  const of = (metric: 'wall' | 'cpu' | 'rss'): number => median(samples.map((sample) => sample[metric] ?? 0));
  return { wall: of('wall'), cpu: of('cpu'), rss: of('rss') };
}

/** Seconds of CPU per second of an idle signer. */
async function atRest({ pid }: RunningSigner): Promise<number> {
  const before = await threadsCpuOf(pid);
  await sleep(1000 * REST);
  return ((await threadsCpuOf(pid)) - before) / REST;
}

/** A poll that finds nothing new. */
async function idle(place: Place, options: BenchOptions): Promise<Group> {
  const count = options.full ? 100 : 17;
  const fewer = options.full ? 20 : 5;
  const ssh = `ssh -F ${place.sshConfig}`;
  const clone = place.world.at('idle');
  const env = { ...gitEnvironment(), GIT_SSH_COMMAND: ssh };
  await run('git', ['clone', '-q', '--bare', `ssh://far${place.world.control}`, clone], { env });
  const socket = place.world.at('master');
  const shared = `${ssh} -o ControlMaster=no -o ControlPath=${socket}`;
  await run('ssh', [
    '-F',
    place.sshConfig,
    '-o',
    'ControlMaster=yes',
    '-o',
    `ControlPath=${socket}`,
    '-N',
    '-f',
    'far',
  ]);
  const [list, fetch] = [
    ['ls-remote', '-q', 'origin', 'refs/heads/main'],
    ['fetch', '-q', 'origin'],
  ];
  try {
    const results = await interleaved(options.repetitions, [
      { name: OURS, ours: true, run: () => ourPolls(place, count) },
      { name: 'git ls-remote', ours: false, run: () => gitRuns(list, ssh, clone, fewer) },
      { name: 'git fetch', ours: false, run: () => gitRuns(fetch, ssh, clone, fewer) },
      { name: 'git ls-remote, ControlMaster', ours: false, run: () => gitRuns(list, shared, clone, fewer) },
      { name: 'git fetch, ControlMaster', ours: false, run: () => gitRuns(fetch, shared, clone, fewer) },
    ]);
    return {
      title: 'An idle poll over SSH',
      results,
      notes: [
        `each sample is the median of ${count} polls of ours, ${fewer} of git; CPU is of this side only, including all processes started`,
      ],
      targets: [atMost(results, OURS, 'wall', 0.01), atMost(results, OURS, 'cpu', 0.002)],
    };
  } finally {
    await run('ssh', ['-F', place.sshConfig, '-o', `ControlPath=${socket}`, '-O', 'exit', 'far']);
  }
}

/** The loop that people use today: fetches every ten seconds, and records what it sees and when. */
function todaysLoop(place: Place, clone: string, seen: string): ChildProcess {
  const script = `while :; do git -C "$1" fetch -q "$2" main; echo "$(git -C "$1" rev-parse FETCH_HEAD) $(date +%s%3N)" >> "$3"; sleep 10; done`;
  return spawn('bash', ['-c', script, 'loop', clone, `ssh://far${place.world.control}`, seen], {
    env: { ...gitEnvironment(), GIT_SSH_COMMAND: `ssh -F ${place.sshConfig}` },
    stdio: 'ignore',
  });
}

interface Push {
  readonly commit: string;
  /** In ms since the epoch. */
  readonly at: number;
}

/** Seconds from each push to the first look that sees it, or a later push. */
function delays(pushes: readonly Push[], looks: readonly Push[]): number[] {
  const order = new Map(pushes.map(({ commit }, at) => [commit, at]));
  return pushes.map((push, at) => {
    const look = looks.find((each) => (order.get(each.commit) ?? -1) >= at);
    return ((look?.at ?? NaN) - push.at) / 1000;
  });
}

async function looksIn(file: string): Promise<Push[]> {
  const lines = (await readFile(file, 'utf8').catch(() => '')).trim().split('\n');
  return lines.map((line) => ({ commit: line.slice(0, 40), at: Number(line.slice(41)) }));
}

/** Both loops see the same pushes: ours polls at its default rate, the other every ten seconds. */
async function pickup(place: Place, options: BenchOptions): Promise<Group> {
  const { world } = place;
  const [seen, clone] = [world.at('seen-today'), world.at('pickup')];
  await run('git', ['clone', '-q', '--bare', world.control, clone], { env: gitEnvironment() });
  const pushes: Push[] = [];
  const ours: Sample[] = [];
  const loop = todaysLoop(place, clone, seen);
  let resting = NaN;
  try {
    await place.resting(async (signer) => {
      for (let at = 0; at < (options.full ? 20 : 5); at += 1) {
        await sleep(Math.random() * 2000);
        const commit = await world.request(`not-there-${at}.zip\n`);
        const pushed = Date.now();
        pushes.push({ commit, at: pushed });
        ours.push({ wall: ((await signer.seenAt(commit)) - pushed) / 1000 });
        await signer.line((line) => line.request === commit && line.outcome !== undefined);
      }
      resting = await atRest(signer);
    });
    while (delays(pushes, await looksIn(seen)).some(Number.isNaN)) await sleep(500);
  } finally {
    loop.kill('SIGTERM');
  }
  const theirs = delays(pushes, await looksIn(seen)).map((wall): Sample => ({ wall }));
  const results = [
    { name: 'signpipe watch', ours: true, samples: ours },
    { name: 'loop: git fetch; sleep 10', ours: false, samples: theirs },
  ];
  return {
    title: 'From push to pick-up, each with its default schedule',
    results,
    notes: [
      'the schedule decides this, not the speed of either',
      `afterwards, while idle and polling every second, signpipe used ${seconds(resting)} of CPU per second`,
    ],
    targets: [atMost(results, 'signpipe watch', 'wall', 1.5)],
  };
}

export async function poll(place: Place, options: BenchOptions): Promise<Group[]> {
  return [await idle(place, options), await pickup(place, options)];
}
