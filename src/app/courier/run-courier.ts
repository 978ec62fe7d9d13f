import type { Logger } from 'pino';
import { loadCourierConfig, type CourierConfig } from '../config/courier.ts';
import { logError } from '../signer/context/poll-errors.ts';
import { changedKeys, fileVersion } from '../signer/supervisor/config-changes.ts';
import { Movement } from '../signer/supervisor/movement.ts';
import { onNewConfiguration, type Judgement, type Reason } from '../signer/supervisor/reload.ts';
import type { ServiceManager } from '../signer/supervisor/service-manager.ts';
import { getsOn, startWatchdog } from '../signer/supervisor/watchdog.ts';
import { withCourier } from './open-courier.ts';

interface RunOptions {
  /** The path of courier.yaml. */
  readonly file: string;
  readonly log: Logger;
  readonly manager: ServiceManager;
  /** Whether SIGHUP asks for the configuration to be read again. */
  readonly hangup: boolean;
  /** Ends the process, with a status after which it is started again. */
  readonly end: () => void;
}

/** How long a courier may do nothing, in ms: each push, fetch and query has a time limit that is far shorter. */
const LONGEST_STILLNESS = 1_800_000;

/**
 * Carries until `stop` is aborted, and reads the configuration again on SIGHUP or when the file has changed. One that
 * cannot be used is logged, and the old one stays.
 */
export async function runCourier(options: RunOptions, stop: AbortSignal): Promise<void> {
  const { file, manager } = options;
  let used: CourierConfig | null = null;
  while (!stop.aborted) {
    const version = await fileVersion(file);
    used = await usableConfig(options, used);
    await carry(options, { config: used, version, stop });
  }
  await manager.close();
}

/** The configuration as it is in the file, or else the one that was used last. */
async function usableConfig({ file, log }: RunOptions, used: CourierConfig | null): Promise<CourierConfig> {
  try {
    return await loadCourierConfig(file);
  } catch (error) {
    if (!used) throw error;
    reportUnusable(log, error);
    return used;
  }
}

function reportUnusable(log: Logger, error: unknown): void {
  log.error('the new configuration cannot be used; the courier continues with the old one');
  logError({ log }, error);
}

/** Carries with one configuration, until it is stopped or there is another. */
async function carry(
  options: RunOptions,
  { config, version, stop }: { config: CourierConfig; version: string | null; stop: AbortSignal },
): Promise<void> {
  const { file, log, manager, hangup, end } = options;
  const reload = new AbortController();
  const limits = { movement: new Movement(), limit: LONGEST_STILLNESS };
  const judge = (reason: Reason): Promise<Judgement> => judgeConfig(options, config, reason);
  const use = (): void => reload.abort();
  await withCourier(config, log, async (courier) => {
    const stopLooking = onNewConfiguration({ file, version, hangup, manager, judge, use });
    const stopWatchdog = startWatchdog({ ...limits, log, end });
    try {
      log.info({ config: file, authorities: config.authorities.length }, 'carrying timestamps');
      manager.ready();
      manager.status('carrying timestamps');
      manager.keepAlive(() => getsOn(limits));
      await courier.watch(AbortSignal.any([stop, reload.signal]), limits.movement.moved);
    } finally {
      stopWatchdog();
      stopLooking();
    }
  });
}

async function judgeConfig(
  { file, log }: RunOptions,
  used: CourierConfig,
  reason: Reason,
): Promise<Judgement> {
  log.info(reason === 'SIGHUP' ? 'SIGHUP: reading the configuration' : `${file} has changed: reading it`);
  try {
    const changed = changedKeys(used, await loadCourierConfig(file));
    if (reason === 'changed' && changed.length === 0) return 'unchanged';
    log.info({ changed }, 'the new configuration will be used after the current round');
    return 'usable';
  } catch (error) {
    reportUnusable(log, error);
    return 'unusable';
  }
}
