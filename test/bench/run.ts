/**
 * What `npm run bench` runs: node --import tsx test/bench/run.ts [--full] [--only NAME]... [--json]
 *   [--repetitions N] [--slow-once] [--work DIR]
 *
 * Compares signpipe with the tools that people use today, alternating in one run, and prints medians with minimum
 * and maximum, and ratios. Nothing passes or fails here; see docs/benchmarks.md.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { cpus, loadavg, release as kernel, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { provideTools } from '../tools.ts';
import { programs, release } from './cases/zip.ts';
import { files } from './cases/files.ts';
import { growth } from './cases/growth.ts';
import { network } from './cases/network.ts';
import { poll } from './cases/poll.ts';
import { queue } from './cases/queue.ts';
import { service } from './cases/service.ts';
import { startup } from './cases/startup.ts';
import { status } from './cases/status.ts';
import { token } from './cases/token.ts';
import { transfer } from './cases/transfer.ts';
import { root } from './measure.ts';
import { Place } from './place.ts';
import { machineReadable, table, type Group } from './report.ts';

export interface BenchOptions {
  /** Use the large corpora, which take almost an hour. */
  readonly full: boolean;
  readonly repetitions: number;
  /** Run ways that take minutes only once. */
  readonly slowOnce: boolean;
  /** Folder for the corpora, which are kept, and for temporary files. */
  readonly work: string;
}

const CASES: Readonly<Record<string, (place: Place, options: BenchOptions) => Promise<Group[]>>> = {
  startup,
  poll,
  queue,
  release,
  network,
  programs,
  service,
  token,
  files,
  transfer,
  growth,
  status,
};

async function machine(): Promise<string> {
  const version = async (...[command = '', ...args]: string[]): Promise<string> => {
    const { stdout, stderr } = await promisify(execFile)(command, args).catch(() => ({
      stdout: '?',
      stderr: '',
    }));
    return (stdout || stderr).split(/\n|, using/)[0]?.trim() ?? '?';
  };
  const tools = [
    await version('osslsigncode', '--version'),
    await version('git', '--version'),
    await version('ssh', '-V'),
  ];
  const processors = cpus();
  return `${processors.length} x ${processors[0]?.model.trim() ?? '?'}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${kernel()}, Node ${process.version}; ${tools.join('; ')}`;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      full: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      json: { type: 'boolean', default: false },
      repetitions: { type: 'string', default: '3' },
      'slow-once': { type: 'boolean', default: false },
      work: { type: 'string', default: join(root, 'bench-work') },
    },
  });
  const unknown = values.only.filter((name) => !(name in CASES));
  const problem =
    unknown.length > 0
      ? `no such case: ${unknown.join(', ')}; there are ${Object.keys(CASES).join(', ')}`
      : provideTools();
  if (problem !== null) {
    console.error(problem);
    return 1;
  }
  const work = resolve(values.work);
  // All temporary files, including the host's folders, are then on the same disk.
  const temporary = join(work, 'tmp');
  await rm(temporary, { recursive: true, force: true });
  await mkdir(temporary, { recursive: true });
  process.env['TMPDIR'] = temporary;
  // If it is set, Node parses all those roots at each start, which takes longer than the start itself.
  delete process.env['NODE_EXTRA_CA_CERTS'];
  const options: BenchOptions = {
    full: values.full,
    repetitions: Number(values.repetitions),
    slowOnce: values['slow-once'],
    work,
  };
  const [about, load, started] = [await machine(), loadavg(), new Date().toISOString()];
  if (!values.json) console.log(`${about}\nload before: ${load.map((each) => each.toFixed(2)).join(' ')}\n`);
  const all: Group[] = [];
  for (const [name, measureCase] of Object.entries(CASES)) {
    if (values.only.length > 0 && !values.only.includes(name)) continue;
    const place = await Place.start();
    try {
      for (const group of await measureCase(place, options)) {
        all.push(group);
        if (!values.json) console.log(table(group));
      }
    } finally {
      await place.stop();
    }
  }
  const result = {
    machine: about,
    started,
    load,
    loadAfter: loadavg(),
    full: options.full,
    groups: machineReadable(all),
  };
  if (values.json) console.log(JSON.stringify(result, null, 2));
  await rm(temporary, { recursive: true, force: true });
  return 0;
}

process.exitCode = await main();
