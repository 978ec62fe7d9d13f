import { readFile, writeFile } from 'node:fs/promises';
import { program } from '../../fixtures/programs.ts';
import { interleaved, measure, signpipe, type Sample } from '../measure.ts';
import type { Place } from '../place.ts';
import type { Group } from '../report.ts';
import type { BenchOptions } from '../run.ts';

const plain = async (command: readonly string[]): Promise<Sample> => {
  const { wall, cpu, rss } = await measure(command);
  return { wall, cpu, rss };
};

/** One small program, without a timestamp: mostly the start of a process. */
export async function startup(place: Place, options: BenchOptions): Promise<Group[]> {
  const input = place.world.at('small.exe');
  await writeFile(input, await readFile((await program('clipboard-x86.exe')).path));
  const output = place.world.at('small.signed.exe');
  const sign = signpipe('sign', input, ...place.signOptions(), '--output', output);
  const theirs = [...place.osslsigncode(), '-in', input, '-out', output];
  const results = await interleaved(Math.max(10, options.repetitions), [
    { name: 'signpipe sign', ours: true, run: () => plain(sign) },
    { name: 'signpipe --version', ours: false, run: () => plain(signpipe('--version')) },
    { name: 'node -e 0', ours: false, run: () => plain([process.execPath, '-e', '0']) },
    {
      name: 'osslsigncode sign',
      ours: false,
      run: async () => {
        await measure(['rm', '-f', output]);
        return plain(theirs);
      },
    },
  ]);
  return [{ title: 'Start-up: one program of 0.2 MB, no timestamp', results, notes: [] }];
}
