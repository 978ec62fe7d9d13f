import { bashCompletion } from './completion/bash.ts';
import { fishCompletion } from './completion/fish.ts';
import { zshCompletion } from './completion/zsh.ts';
import { commandLineModel } from './command-model.ts';
import { manualPages } from './manual/manual.ts';
import { VERSION } from '../lib/version.ts';

/** The day of the build: that of SOURCE_DATE_EPOCH, so that a build of one commit is the same on any day. */
function buildDay(): string {
  const { SOURCE_DATE_EPOCH: seconds = '' } = process.env;
  const time = /^\d+$/.test(seconds) ? new Date(Number(seconds) * 1000) : new Date();
  return time.toISOString().slice(0, 10);
}

/** What shells and `man` read about the command line, by path below `dist/`. */
export async function shellFiles(root: string): Promise<Map<string, string>> {
  const program = commandLineModel();
  const pages = await manualPages(root, program, { date: buildDay(), version: VERSION });
  return new Map([
    ['completion/signpipe.bash', bashCompletion(program)],
    ['completion/_signpipe', zshCompletion(program)],
    ['completion/signpipe.fish', fishCompletion(program)],
    ...[...pages].map(([name, text]) => [`man/${name}`, text] as const),
  ]);
}
