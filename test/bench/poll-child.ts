/**
 * Polls that find nothing: poll-child.ts SIGNER_YAML COUNT. Runs one signer in this process, as `watch` does, and
 * prints a PollReport.
 */
import { readFile } from 'node:fs/promises';
import { pino } from 'pino';
import { loadSignerConfig } from '../../src/app/config/signer.ts';
import { noProgress } from '../../src/lib/progress.ts';
import { openSignerContext } from '../../src/app/signer/context/signer-context.ts';
import { RequestPoller } from '../../src/app/signer/request/request-poller.ts';

export interface PollReport {
  /** Milliseconds of each poll. */
  readonly walls: readonly number[];
  /** Milliseconds of CPU of all polls, including children such as git. */
  readonly cpu: number;
  readonly rss: number;
}

/** CPU of children that have ended, in ms (man 5 proc). */
async function childrenCpu(): Promise<number> {
  const stat = await readFile('/proc/self/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) * 10;
}

async function cpu(): Promise<number> {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000 + (await childrenCpu());
}

const [config = '', count = '50'] = process.argv.slice(2);
const site = await openSignerContext(await loadSignerConfig(config), {
  log: pino({ level: 'silent' }),
  progress: noProgress,
});
const signer = new RequestPoller(site);
for (let warm = 0; warm < 3; warm += 1) await signer.poll();
const before = await cpu();
const walls: number[] = [];
for (let done = 0; done < Number(count); done += 1) {
  const begun = performance.now();
  await signer.poll();
  walls.push(performance.now() - begun);
}
const report: PollReport = {
  walls,
  cpu: (await cpu()) - before,
  rss: process.resourceUsage().maxRSS * 1024,
};
console.log(JSON.stringify(report));
await site.close();
