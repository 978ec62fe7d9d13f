import { loadCourierConfig } from '../../app/config/courier.ts';
import type { Courier } from '../../app/courier/courier.ts';
import { withCourier } from '../../app/courier/open-courier.ts';
import { loggerFor } from '../output/logger.ts';
import type { CommonOptions } from '../output/terminal.ts';

interface CourierCommandOptions extends CommonOptions {
  readonly config: string;
  readonly once?: boolean;
  readonly json?: boolean;
}

/** Carries until SIGTERM or SIGINT; the batches in hand are finished. */
async function untilStopped(courier: Courier): Promise<number> {
  const stop = new AbortController();
  const onStop = (): void => stop.abort();
  process.on('SIGTERM', onStop).on('SIGINT', onStop);
  try {
    await courier.watch(stop.signal);
    return 0;
  } finally {
    process.off('SIGTERM', onStop).off('SIGINT', onStop);
  }
}

/** `signpipe courier`: carries timestamp queries from Git to the authorities, and the answers back. */
export async function courierCommand(options: CourierCommandOptions): Promise<number> {
  const config = await loadCourierConfig(options.config);
  const log = loggerFor(options);
  return withCourier(config, log, async (courier) => {
    if (options.once) return (await courier.round()).failed === 0 ? 0 : 1;
    log.info({ config: config.file, authorities: config.authorities.length }, 'carrying timestamps');
    return untilStopped(courier);
  });
}
