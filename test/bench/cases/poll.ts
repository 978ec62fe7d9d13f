import { execFile, spawn } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gitEnvironment } from '../../world/site.ts';
import { interleaved, measure, median, root, signpipe, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import type { PollReport } from '../poll-child.ts';
import type { Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

const run = promisify(execFile);

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

/** A poll that finds nothing new. */
async function idle(place: Place, options: BenchOptions): Promise<Group> {
  const count = options.full ? 100 : 17;
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
      { name: 'signpipe: Signer.poll()', ours: true, run: () => ourPolls(place, count) },
      { name: 'git ls-remote', ours: false, run: () => gitRuns(list, ssh, clone, count) },
      { name: 'git fetch', ours: false, run: () => gitRuns(fetch, ssh, clone, count) },
      { name: 'git ls-remote, ControlMaster', ours: false, run: () => gitRuns(list, shared, clone, count) },
      { name: 'git fetch, ControlMaster', ours: false, run: () => gitRuns(fetch, shared, clone, count) },
    ]);
    const note = `each sample is the median of ${count} polls; CPU is of this side only, with all processes started`;
    return { title: 'An idle poll over SSH', results, notes: [note] };
  } finally {
    await run('ssh', ['-F', place.sshConfig, '-o', `ControlPath=${socket}`, '-O', 'exit', 'far']);
  }
}

/** The seconds until a line of a file names the commit. */
async function noticed(commit: string, pushed: number, file: string): Promise<number> {
  for (;;) {
    const text = await readFile(file, 'utf8').catch(() => '');
    const line = text.split('\n').find((each) => each.startsWith(commit));
    if (line !== undefined) return (Number(line.split(' ')[1]) - pushed) / 1000;
    await sleep(50);
  }
}

/** Both loops look at the same pushes: ours as often as it does by default, the other every ten seconds. */
async function pickup(place: Place, options: BenchOptions): Promise<Group> {
  const { world } = place;
  const [ours, theirs, clone] = [world.at('seen-ours'), world.at('seen-today'), world.at('pickup')];
  await run('git', ['clone', '-q', '--bare', world.control, clone], { env: gitEnvironment() });
  await writeFile(ours, '');
  await writeFile(theirs, '');
  const [command = '', ...args] = signpipe('watch', '-c', world.site.signerConfig, '--json');
  const signer = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let rest = '';
  let seen = '';
  signer.stdout.on('data', (data: Buffer) => {
    const lines = (rest + data.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const { time, msg, request } = JSON.parse(line) as { time: string; msg: string; request?: string };
      if (msg.startsWith('request ')) seen += `${request} ${Date.parse(time)}\n`;
    }
    void writeFile(ours, seen);
  });
  const script = `while :; do git -C "$1" fetch -q "$2" main; echo "$(git -C "$1" rev-parse FETCH_HEAD) $(date +%s%3N)" >> "$3"; sleep 10; done`;
  const loop = spawn('bash', ['-c', script, 'loop', clone, `ssh://far${world.control}`, theirs], {
    env: { ...gitEnvironment(), GIT_SSH_COMMAND: `ssh -F ${place.sshConfig}` },
    stdio: 'ignore',
  });
  const samples: { ours: Sample[]; theirs: Sample[] } = { ours: [], theirs: [] };
  try {
    await sleep(3000);
    for (let at = 0; at < (options.full ? 20 : 5); at += 1) {
      await sleep(((at * 37) % 100) * 50);
      const commit = await world.request(`not-there-${at}.zip\n`);
      const pushed = Date.now();
      const [a, b] = await Promise.all([noticed(commit, pushed, ours), noticed(commit, pushed, theirs)]);
      samples.ours.push({ wall: a });
      samples.theirs.push({ wall: b });
    }
  } finally {
    signer.kill('SIGTERM');
    loop.kill('SIGTERM');
  }
  await new Promise((done) => signer.once('close', done));
  await rm(clone, { recursive: true, force: true });
  return {
    title: 'From push to pick-up, with the schedule that each has by default',
    results: [
      { name: 'signpipe watch', ours: true, samples: samples.ours },
      { name: 'loop: git fetch; sleep 10', ours: false, samples: samples.theirs },
    ],
    notes: ['the schedule decides this, not the speed of either'],
  };
}

export async function poll(place: Place, options: BenchOptions): Promise<Group[]> {
  return [await idle(place, options), await pickup(place, options)];
}
