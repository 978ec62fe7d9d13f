import { loadCourierConfig } from '../../app/config/courier.ts';
import { withCourier } from '../../app/courier/open-courier.ts';
import { runCourier } from '../../app/courier/run-courier.ts';
import { ServiceManager } from '../../app/signer/supervisor/service-manager.ts';
import { endAtUnexpectedErrors } from '../../app/signer/supervisor/supervisor.ts';
import { loggerFor } from '../output/logger.ts';
import type { CommonOptions } from '../output/terminal.ts';
import { endToRestart } from './end-to-restart.ts';

interface CourierCommandOptions extends CommonOptions {
  readonly config: string;
  readonly once?: boolean;
  readonly json?: boolean;
}

/** Carries until SIGTERM or SIGINT; the batches in hand are finished. */
async function untilStopped(options: CourierCommandOptions): Promise<number> {
  const log = loggerFor(options);
  endAtUnexpectedErrors(log, endToRestart);
  const manager = new ServiceManager(log);
  const hangup = !process.stdout.isTTY;
  const stop = new AbortController();
  const onStop = (): void => {
    manager.stopping();
    stop.abort();
  };
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  // Between two configurations, SIGHUP must not end the process.
  if (hangup) process.on('SIGHUP', () => {});
  await runCourier({ file: options.config, log, manager, hangup, end: endToRestart }, stop.signal);
  return 0;
}

/** `signpipe courier`: carries timestamp queries from Git to the authorities, and the answers back. */
export async function courierCommand(options: CourierCommandOptions): Promise<number> {
  if (!options.once) return untilStopped(options);
  const config = await loadCourierConfig(options.config);
  return withCourier(config, loggerFor(options), async (courier) =>
    (await courier.round()).failed === 0 ? 0 : 1,
  );
}
