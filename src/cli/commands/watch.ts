import type { Logger } from 'pino';
import { loadSignerConfig, type SignerConfig } from '../../app/config/signer.ts';
import { openSignerContext, type SignerContext } from '../../app/signer/context/signer-context.ts';
import { RequestPoller } from '../../app/signer/request/request-poller.ts';
import { logError } from '../../app/signer/context/poll-errors.ts';
import { ServiceManager } from '../../app/signer/supervisor/service-manager.ts';
import { endAtUnexpectedErrors, Supervisor } from '../../app/signer/supervisor/supervisor.ts';
import { SignpipeError } from '../../lib/errors.ts';
import { loggerFor } from '../output/logger.ts';
import { progressFor } from '../output/progress-bars.ts';
import type { CommonOptions } from '../output/terminal.ts';
import { endToRestart } from './end-to-restart.ts';

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

/** Logs what `doctor` would find wrong, during the first poll: a wrong path is reported before a request needs it. */
async function reportFindings(config: SignerConfig, log: Logger): Promise<void> {
  const { checkSignerAtStart } = await import('../../app/site/doctor/doctor.ts');
  for (const { check, status, code, message, hint } of await checkSignerAtStart(config)) {
    if (status === 'ok') continue;
    log[status === 'bad' ? 'error' : 'warn']({ check, code, hint }, `${check}: ${message}`);
  }
}

const openContext = async (options: WatchCommandOptions): Promise<SignerContext> =>
  openSignerContext(await loadSignerConfig(options.config), {
    log: loggerFor(options),
    progress: await progressFor(options),
  });

/** Watches until SIGTERM or SIGINT. */
async function untilStopped(options: WatchCommandOptions): Promise<number> {
  const log = loggerFor(options);
  endAtUnexpectedErrors(log, endToRestart);
  const supervisor = new Supervisor({
    file: options.config,
    log,
    progress: await progressFor(options),
    manager: new ServiceManager(log),
    hangup: !process.stdout.isTTY,
    onOpened: (config) => reportFindings(config, log),
    end: endToRestart,
  });
  return (await supervisor.run()) ? 3 : 0;
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
