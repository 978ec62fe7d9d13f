import { once } from 'node:events';
import type { Logger } from 'pino';
import { KeyUnavailable } from '../../../engine/keys/signing-key.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { ProgressDisplay } from '../../../lib/progress.ts';
import { loadSignerConfig, type SignerConfig } from '../../config/signer.ts';
import {
  closeChannels,
  openChannels,
  openReceiptWriter,
  openSignerContext,
  type SignerContext,
} from '../context/signer-context.ts';
import { canPass, openWhenKeysAreThere } from '../context/wait-for-keys.ts';
import type { PollResult } from '../request/request-poller.ts';
import { changedKeys, fileVersion } from './config-changes.ts';
import { Movement } from './movement.ts';
import { logError } from '../context/poll-errors.ts';
import { onNewConfiguration, type Judgement, type Reason } from './reload.ts';
import type { ServiceManager } from './service-manager.ts';
import { getsOn, longestStillness, startWatchdog } from './watchdog.ts';
import { watch } from './watch.ts';

interface SupervisorOptions {
  /** The path of signer.yaml. */
  readonly file: string;
  readonly log: Logger;
  readonly progress: ProgressDisplay;
  readonly manager: ServiceManager;
  /** Whether SIGHUP asks for the configuration to be read again. On a terminal it ends the process like any other. */
  readonly hangup: boolean;
  /** Called with each configuration that is used; errors are logged. */
  readonly onOpened: (config: SignerConfig) => Promise<void>;
  /** Ends the process, with a status after which it is started again. */
  readonly end: () => void;
}

const silent = (): void => {};

/** How watching ended. */
type Ending = 'stopped' | 'alarmed' | 'reload';

/**
 * Runs a signer for years: opens it once its keys and hosts can be reached, watches, and reads its configuration again on SIGHUP or when
 * the file has changed; ends it if it does not get on.
 */
export class Supervisor {
  private readonly stop = new AbortController();
  private readonly movement = new Movement();
  /** The configuration that was used last. */
  private used: SignerConfig | null = null;
  /** The version of the file when it was read last. */
  private version: string | null = null;

  constructor(private readonly options: SupervisorOptions) {}

  /** Watches until SIGTERM or SIGINT; returns whether the last poll raised an alarm. Throws if the first start fails. */
  async run(): Promise<boolean> {
    const { log, hangup, manager } = this.options;
    const onStop = (name: NodeJS.Signals): void => {
      if (this.used) log.info(`${name}: finishing the current work`);
      manager.stopping();
      this.stop.abort();
    };
    process.on('SIGTERM', onStop).on('SIGINT', onStop);
    if (hangup) process.on('SIGHUP', silent);
    try {
      for (;;) {
        const ending = await this.session();
        if (ending === 'reload') continue;
        await manager.close();
        if (this.used) log.info('stopped');
        return ending === 'alarmed';
      }
    } finally {
      process.off('SIGTERM', onStop).off('SIGINT', onStop).off('SIGHUP', silent);
    }
  }

  /** Opens a signer and watches until it is stopped or its configuration has to be read again. */
  private async session(): Promise<Ending> {
    const context = await this.openWhenPossible();
    if (!context) return 'stopped';
    const { config, log } = context;
    const limits = { movement: this.movement, limit: longestStillness(config) };
    const stopWatchdog = startWatchdog({ ...limits, log, end: this.options.end });
    const { manager, onOpened } = this.options;
    // Not awaited: a host that hangs must delay neither requests nor the end.
    onOpened(config).catch((error: unknown) => logError({ log }, error));
    manager.ready();
    manager.keepAlive(() => getsOn(limits));
    try {
      return await this.watchUntilEnd(context);
    } finally {
      await context.close();
      stopWatchdog();
    }
  }

  /** Opens the signer; null if it was stopped while its key could not be reached. */
  private async openWhenPossible(): Promise<SignerContext | null> {
    const { log, manager } = this.options;
    const { signal } = this.stop;
    const context = await openWhenKeysAreThere(() => this.openUsable(), {
      log,
      signal,
      now: (until) => this.nextHangup(until),
      onWaiting: () => {
        // Otherwise systemd would end a start that takes long.
        manager.ready();
        manager.keepAlive(() => true);
        manager.status('waiting for a key or a host that cannot be reached');
      },
    });
    if (!signal.aborted || !context) return context;
    await context.close();
    return null;
  }

  /** Opens the signer with the configuration as it is in the file now, or else with the one that was used last. */
  private async openUsable(): Promise<SignerContext> {
    const { file } = this.options;
    this.movement.moved();
    const { used } = this;
    try {
      this.version = await fileVersion(file);
      const fresh = await loadSignerConfig(file);
      const context = await this.open(fresh);
      this.used = fresh;
      this.reportChanges(used, fresh);
      return context;
    } catch (error) {
      if (!used || canPass(error)) throw error;
      this.reportUnusable(error);
      return this.open(used);
    }
  }

  /** `onOpened` warns of key files that others may read. */
  private open(config: SignerConfig): Promise<SignerContext> {
    const { log, progress } = this.options;
    const { movement } = this;
    return openSignerContext(config, {
      log,
      progress: movement.watching(progress),
      onGitOutput: movement.moved,
      warn: silent,
    });
  }

  private reportChanges(before: SignerConfig | null, after: SignerConfig): void {
    if (!before) return;
    const changed = changedKeys(before, after).slice(0, 50);
    const what = changed.length === 0 ? 'nothing in it changed' : `changed: ${changed.join(', ')}`;
    this.options.log.info({ changed }, `the configuration was read again; ${what}`);
  }

  private reportUnusable(error: unknown): void {
    const { log } = this.options;
    log.error('the new configuration cannot be used; the signer continues with the old one');
    logError({ log }, error);
  }

  private async watchUntilEnd(context: SignerContext): Promise<Ending> {
    const { file, log, manager, hangup } = this.options;
    const reload = new AbortController();
    const signal = AbortSignal.any([this.stop.signal, reload.signal]);
    const { version } = this;
    const judge = (reason: Reason): Promise<Judgement> => this.judge(reason);
    const use = (): void => reload.abort();
    const stopLooking = onNewConfiguration({ file, version, hangup, manager, judge, use });
    try {
      log.info({ config: file, poll: context.config.control.poll }, 'watching');
      manager.status('polling');
      const onPolled = (result: PollResult | null): void => manager.status(statusOf(result));
      const alarmed = await watch(context, { signal, movement: this.movement, onPolled });
      if (!this.stop.signal.aborted) return 'reload';
      return alarmed ? 'alarmed' : 'stopped';
    } finally {
      stopLooking();
    }
  }

  /** Whether the configuration, as it is now, can be used: a mistake in it must not end a running signer. */
  private async judge(reason: Reason): Promise<Judgement> {
    const { file, log } = this.options;
    log.info(reason === 'SIGHUP' ? 'SIGHUP: reading the configuration' : `${file} has changed: reading it`);
    try {
      const fresh = await loadSignerConfig(file);
      if (reason === 'changed' && changedKeys(this.used, fresh).length === 0) return 'unchanged';
      await closeChannels(await openChannels(fresh, { now: new Date(), warn: silent }));
      await openReceiptWriter(fresh, silent);
      log.info('the new configuration will be used after the current work');
      return 'usable';
    } catch (error) {
      this.reportUnusable(error);
      return error instanceof KeyUnavailable ? 'later' : 'unusable';
    }
  }

  /** Resolves at the next SIGHUP, or when `signal` is aborted. */
  private async nextHangup(signal: AbortSignal): Promise<void> {
    if (this.options.hangup) await once(process, 'SIGHUP', { signal }).catch(silent);
    else await once(signal, 'abort');
  }
}

/** The status line after a poll. */
function statusOf(result: PollResult | null): string {
  if (!result) return 'the last poll failed; see the log';
  return result.waiting === 0 ? 'nothing to sign' : `${result.waiting} waiting`;
}

/** Ends the process at an error that no part expected: what a bug leaves is not to be trusted, and the journal is in order. */
export function endAtUnexpectedErrors(log: Pick<Logger, 'fatal'>, end: () => void): void {
  const onError = (error: unknown): void => {
    const hint = 'this is a bug; please report it. The next start takes up the request where it was';
    log.fatal({ code: 'internal-error', err: error, hint }, `unexpected error: ${messageOf(error)}`);
    end();
  };
  process.on('uncaughtException', onError).on('unhandledRejection', onError);
}
