import { once } from 'node:events';
import { loadSignerConfig } from '../../app/config/signer.ts';
import { SignpipeError } from '../../lib/errors.ts';
import {
  closeChannels,
  openChannels,
  openReceiptWriter,
  openSignerContext,
  type SignerContext,
} from '../../app/signer/context/signer-context.ts';
import { logError } from '../../app/signer/poll-errors.ts';
import { RequestPoller } from '../../app/signer/request/request-poller.ts';
import { openWhenKeysAreThere } from '../../app/signer/context/wait-for-keys.ts';
import { watch } from '../../app/signer/watch.ts';
import { silent } from '../../app/site/doctor/check-result.ts';
import { loggerFor } from '../output/logger.ts';
import { progressFor } from '../output/progress-bars.ts';
import type { CommonOptions } from '../output/terminal.ts';

interface WatchCommandOptions extends CommonOptions {
  readonly config: string;
  readonly once?: boolean;
  readonly acceptHistory?: string;
  readonly json?: boolean;
}

const isWatching = ({ once, acceptHistory }: WatchCommandOptions): boolean =>
  !once && acceptHistory === undefined;

/** The exit status: 2 for a mistake in the configuration, 3 for an alarm, 1 for anything else. */
function statusOf(error: unknown): number {
  if (!(error instanceof SignpipeError)) return 1;
  return error.kind === 'alarm' || error.kind === 'usage' ? error.exitStatus : 1;
}

/** Answers the pending requests; the exit status is 0 if all were answered. */
async function answerPending(context: SignerContext, signer: RequestPoller): Promise<number> {
  try {
    const { answered, waiting } = await signer.poll();
    context.log.info({ answered, waiting }, `answered ${answered}, waiting ${waiting}`);
    return waiting > 0 ? 1 : 0;
  } catch (error) {
    logError(context, error);
    return statusOf(error);
  }
}

/** Why watching ended. */
type Ending = { readonly kind: 'stopped'; readonly alarmed: boolean } | { readonly kind: 'reload' };

/** Watches until SIGTERM or SIGINT, or until SIGHUP and the configuration can be used. */
async function watchUntilEnd(context: SignerContext): Promise<Ending> {
  const stop = new AbortController();
  let reload = false;
  const onStop = (name: NodeJS.Signals): void => {
    context.log.info(`${name}: finishing the current work`);
    reload = false;
    stop.abort();
  };
  const onReload = (): void => {
    void isUsable(context).then((usable) => {
      if (!usable || stop.signal.aborted) return;
      reload = true;
      stop.abort();
    });
  };
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  // On a terminal SIGHUP means that the terminal was closed, and ends the process like any other.
  if (!process.stdout.isTTY) process.on('SIGHUP', onReload);
  try {
    context.log.info({ config: context.config.file, poll: context.config.control.poll }, 'watching');
    const alarmed = await watch(context, { signal: stop.signal });
    return reload ? { kind: 'reload' } : { kind: 'stopped', alarmed };
  } finally {
    process.off('SIGTERM', onStop).off('SIGINT', onStop).off('SIGHUP', onReload);
  }
}

/** Whether the configuration, as it is now, can be used: a mistake in it must not end a running signer. */
async function isUsable({ config, log }: SignerContext): Promise<boolean> {
  try {
    const fresh = await loadSignerConfig(config.file);
    await closeChannels(await openChannels(fresh, { now: new Date(), warn: silent }));
    await openReceiptWriter(fresh, silent);
    log.info('SIGHUP: the new configuration will be used after the current work');
    return true;
  } catch (error) {
    log.error('SIGHUP: the new configuration cannot be used; the signer continues with the old one');
    logError({ log }, error);
    return false;
  }
}

/** Logs what `doctor` would find wrong, during the first poll: a wrong path is reported before a request needs it. */
async function reportFindings({ config, log }: SignerContext): Promise<void> {
  const { checkSignerAtStart } = await import('../../app/site/doctor/doctor.ts');
  for (const { check, status, code, message, hint } of await checkSignerAtStart(config)) {
    if (status === 'ok') continue;
    log[status === 'bad' ? 'error' : 'warn']({ check, code, hint }, `${check}: ${message}`);
  }
}

/** Opens the signer. While it watches, `reportFindings` warns of key files that others may read. */
const openContext = async (options: WatchCommandOptions): Promise<SignerContext> =>
  openSignerContext(await loadSignerConfig(options.config), {
    log: loggerFor(options),
    progress: await progressFor(options),
    ...(isWatching(options) ? { warn: silent } : {}),
  });

const ignore = (): void => {};

/** Resolves at the next SIGHUP; never on a terminal, where that signal ends the process. */
const onHangup = async (signal: AbortSignal): Promise<void> => {
  if (process.stdout.isTTY) await once(signal, 'abort');
  else await once(process, 'SIGHUP', { signal }).catch(ignore);
};

/**
 * Opens a signer that watches, once its keys can be reached; null if it was stopped before. SIGHUP reads the configuration
 * again at once.
 */
async function openToWatch(options: WatchCommandOptions): Promise<SignerContext | null> {
  const stop = new AbortController();
  const onStop = (): void => stop.abort();
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  // As long as it waits, SIGHUP must not end the process; on a terminal it does.
  if (!process.stdout.isTTY) process.on('SIGHUP', ignore);
  try {
    const context = await openWhenKeysAreThere(() => openContext(options), {
      log: loggerFor(options),
      signal: stop.signal,
      now: onHangup,
    });
    if (!stop.signal.aborted) return context;
    await context?.close();
    return null;
  } finally {
    stop.abort();
    process.off('SIGTERM', onStop).off('SIGINT', onStop).off('SIGHUP', ignore);
  }
}

async function untilStopped(options: WatchCommandOptions): Promise<number> {
  for (;;) {
    const context = await openToWatch(options);
    if (!context) return 0;
    // Not awaited: a host that hangs must delay neither requests nor the end.
    reportFindings(context).catch((error: unknown) => logError({ log: context.log }, error));
    try {
      const ending = await watchUntilEnd(context);
      if (ending.kind === 'stopped') {
        context.log.info('stopped');
        return ending.alarmed ? 3 : 0;
      }
    } finally {
      await context.close();
    }
  }
}

/** `signpipe watch`: runs the signer. */
export async function watchCommand(options: WatchCommandOptions): Promise<number> {
  if (isWatching(options)) return untilStopped(options);
  const context = await openContext(options);
  try {
    const signer = new RequestPoller(context);
    if (options.acceptHistory !== undefined) await signer.acceptHistory(options.acceptHistory);
    return options.once ? await answerPending(context, signer) : 0;
  } finally {
    await context.close();
  }
}
