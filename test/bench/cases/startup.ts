import { readFile, rm, writeFile } from 'node:fs/promises';
import { program } from '../../fixtures/programs.ts';
import { interleaved, measure, signpipe, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import { atMost, medianOf, type Group, type Target } from '../report.ts';
import type { BenchOptions } from '../run.ts';

const plain = async (command: readonly string[]): Promise<Sample> => {
  const { wall, cpu, rss } = await measure(command);
  return { wall, cpu, rss };
};

/** One small program, with and without a timestamp: mostly process start. */
export async function startup(place: Place, options: BenchOptions): Promise<Group[]> {
  const input = place.world.at('small.exe');
  await writeFile(input, await readFile((await program('clipboard-x86.exe')).path));
  const output = place.world.at('small.signed.exe');
  const { url } = await place.authority(0);
  const signing = async (command: readonly string[]): Promise<Sample> => {
    await rm(output, { force: true });
    return plain(command);
  };
  const ours = signpipe('sign', input, ...place.signOptions(), '--output', output);
  const theirs = [...place.osslsigncode(), '-in', input, '-out', output];
  const [mine, floor, other] = ['signpipe sign', 'node -e 0', 'osslsigncode sign'];
  const results = await interleaved(Math.max(10, options.repetitions), [
    { name: mine, ours: true, run: () => signing(ours) },
    { name: `${mine}, timestamp`, ours: true, run: () => signing([...ours, '--timestamp', url]) },
    { name: 'signpipe --version', ours: true, run: () => plain(signpipe('--version')) },
    { name: floor, ours: false, run: () => plain([process.execPath, '-e', '0']) },
    { name: other, ours: false, run: () => signing(theirs) },
    { name: `${other}, timestamp`, ours: false, run: () => signing([...theirs, '-ts', url]) },
  ]);
  await signing([...ours, '--timestamp', url]);
  await place.checkProgram(output);
  const allowed = (stamped: string): number =>
    2 * medianOf(results, other + stamped, 'wall') + medianOf(results, floor, 'wall');
  const target = (stamped: string): Target => ({
    ...atMost(results, mine + stamped, 'wall', allowed(stamped)),
    what: `${mine}${stamped}, to twice ${other} and Node's own start`,
  });
  return [
    {
      title: 'Start-up: one program of 0.2 MB',
      results,
      notes: [],
      targets: [target(''), target(', timestamp')],
    },
  ];
}
