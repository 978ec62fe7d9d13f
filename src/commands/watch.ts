import { pino, type Logger } from 'pino';
import { loadSignerConfig } from '../config/signer.ts';
import { SignpipeError } from '../errors.ts';
import { printableJson } from '../printable.ts';
import { openSite } from '../signer/site.ts';
import { logError, Signer, watch } from '../signer/watch.ts';
import type { Site } from '../signer/site.ts';
import { humanLog } from './human-log.ts';
import { progressFor } from './bars.ts';
import { type CommonOptions } from './terminal.ts';

export interface WatchCommandOptions extends CommonOptions {
  readonly config: string;
  readonly once?: boolean;
  readonly acceptHistory?: string;
  readonly json?: boolean;
}

/** JSON lines for whoever collects logs; plain lines where a person watches. */
function loggerFor(options: WatchCommandOptions): Logger {
  const level = options.quiet ? 'warn' : options.verbose ? 'debug' : 'info';
  const settings = { level, base: {}, timestamp: pino.stdTimeFunctions.isoTime };
  if (process.stdout.isTTY && !options.json) return pino(settings, humanLog(process.stdout));
  const out = pino.destination({ dest: 1, sync: true });
  // JSON leaves some control characters as they are, and logs are read on terminals.
  return pino(settings, { write: (record) => void out.write(printableJson(record)) });
}

/** 2 for what a person mends in the configuration, 3 for an alarm; whatever else kept it from answering is 1. */
function statusOf(error: unknown): number {
  if (!(error instanceof SignpipeError)) return 1;
  return error.kind === 'alarm' || error.kind === 'usage' ? error.exitStatus : 1;
}

/** Answers what is pending; 0 when all was answered. */
async function once(site: Site, signer: Signer): Promise<number> {
  try {
    const { answered, waiting } = await signer.poll();
    site.log.info({ answered, waiting }, `answered ${answered}, waiting ${waiting}`);
    return waiting > 0 ? 1 : 0;
  } catch (error) {
    logError(site, error);
    return statusOf(error);
  }
}

async function untilStopped(site: Site): Promise<number> {
  const stop = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    site.log.info(`${name}: finishing the work in hand`);
    stop.abort();
  };
  process.once('SIGTERM', onSignal);
  process.once('SIGINT', onSignal);
  site.log.info({ config: site.config.file, poll: site.config.control.poll }, 'watching');
  const alarmed = await watch(site, stop.signal);
  site.log.info('stopped');
  return alarmed ? 3 : 0;
}

/** `signpipe watch`: the signer. */
export async function watchCommand(options: WatchCommandOptions): Promise<number> {
  const config = await loadSignerConfig(options.config);
  const site = await openSite(config, { log: loggerFor(options), progress: await progressFor(options) });
  try {
    const signer = new Signer(site);
    if (options.acceptHistory !== undefined) await signer.acceptHistory(options.acceptHistory);
    if (options.once) return await once(site, signer);
    return options.acceptHistory === undefined ? await untilStopped(site) : 0;
  } finally {
    await site.close();
  }
}
