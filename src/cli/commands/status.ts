import { setTimeout as sleep } from 'node:timers/promises';
import { openSite, readSite } from '../../app/overview/sources/site.ts';
import type { StatusReport, StatusSource } from '../../app/overview/sources/status-source.ts';
import { SignpipeError, usage } from '../../lib/errors.ts';
import { printable } from '../../lib/printable.ts';
import { painter, wantsColour } from '../../lib/terminal-colors.ts';
import { isUrl, withOpenRepository } from '../../protocol/control/with-repository.ts';
import { isLive, LiveScreen } from '../output/live-screen.ts';
import { overviewText } from '../output/overview-text.ts';
import { statusJson } from '../output/status-json.ts';
import { statusText } from '../output/status-text.ts';
import { print, printJson, sayUnlessQuiet, type CommonOptions } from '../output/terminal.ts';

interface StatusCommandOptions extends CommonOptions {
  readonly config?: string;
  readonly allowedSigners?: string;
  readonly receiptSigners?: string;
  readonly requests: string;
  readonly receipts: string;
  readonly after?: string;
  readonly once?: boolean;
  readonly every: number;
  readonly json?: boolean;
}

/** Requests of the queue that are printed; `--verbose` and `--json` have more. */
const SHOWN = 20;

async function configuredSource(path: string, options: StatusCommandOptions): Promise<StatusSource> {
  const site = await readSite(path);
  if (site.role === 'signer') {
    const { signerStatus } = await import('../../app/overview/sources/signer-status.ts');
    return signerStatus(site.config);
  }
  const { fetchingStatus } = await import('../../app/overview/sources/fetching-status.ts');
  return fetchingStatus(await openSite(site, sayUnlessQuiet(options)), site.config);
}

function textOf({ overview, health, notes }: StatusReport, now: Date, verbose: boolean): string {
  const paint = painter(wantsColour(process.stdout));
  const requests = verbose ? Infinity : SHOWN;
  return [
    ...(health ? [statusText(health, now)] : []),
    ...(overview ? [overviewText(overview, { now, paint, requests, signers: !health })] : []),
    ...notes,
  ].join('\n');
}

/** 3 after an alarm, 1 if no signer runs that this reader knows of, 0 otherwise. */
function exitStatus({ overview, health }: StatusReport): number {
  if (overview?.alarms.some(({ level }) => level === 'alarm')) return 3;
  if (health) return health.running && !health.silent ? 0 : 1;
  const signers = overview?.signers ?? [];
  return signers.length === 0 || signers.some(({ state }) => state === 'alive') ? 0 : 1;
}

/** Draws until the process is stopped. A failure that may pass is shown instead of ending it. */
async function drawUntilStopped(source: StatusSource, options: StatusCommandOptions): Promise<never> {
  const verbose = options.verbose === true;
  const first = textOf(await source.read(new Date()), new Date(), verbose);
  const screen = new LiveScreen(process.stdout);
  try {
    screen.draw(first);
    for (let text = first; ;) {
      await sleep(options.every);
      const now = new Date();
      let failure = '';
      try {
        text = textOf(await source.read(now), now, verbose);
      } catch (error) {
        if (!(error instanceof SignpipeError) || !error.retryable) throw error;
        failure = `${printable(error.message)} [${error.code}]; this is older:\n`;
      }
      screen.draw(`${failure}${text}`);
    }
  } finally {
    screen.close();
  }
}

async function show(source: StatusSource, options: StatusCommandOptions): Promise<number> {
  if (!options.json && options.once !== true && isLive(process.stdout))
    return drawUntilStopped(source, options);
  const now = new Date();
  const report = await source.read(now);
  if (options.json) printJson(statusJson(report));
  else print(textOf(report, now, options.verbose === true));
  return exitStatus(report);
}

/**
 * `signpipe status`: the queue and what each request waits for, the newest outcomes, signers, certificates and alarms.
 * For a signer's operator (from its state folder; no lock is taken and no host is asked), for a builder or voucher, and
 * for a reader with a clone and a list of keys. Redrawn on a terminal until it is stopped. The exit status is 3 if there
 * is an alarm, 1 if the signer does not run, is silent or has never run, and 0 otherwise.
 */
export async function statusCommand(
  repo: string | undefined,
  options: StatusCommandOptions,
): Promise<number> {
  const { config } = options;
  if ((config === undefined) === (repo === undefined))
    throw usage('status-of-what', 'give either -c with a configuration, or a control repository', {
      hint: 'signpipe status -c signer.yaml, or signpipe status CLONE --allowed-signers FILE',
    });
  if (config !== undefined) {
    const source = await configuredSource(config, options);
    try {
      return await show(source, options);
    } finally {
      await source.close();
    }
  }
  const { cloneStatus } = await import('../../app/overview/sources/clone-status.ts');
  const place = repo ?? '';
  return withOpenRepository(place, options, ({ repository, refresh, refreshHeartbeats }) => {
    const read = async (now: Date): Promise<StatusReport> => {
      await refreshHeartbeats();
      await refresh();
      return cloneStatus(repository, options, { now, kept: !isUrl(place) });
    };
    return show({ read, close: () => Promise.resolve() }, options);
  });
}
