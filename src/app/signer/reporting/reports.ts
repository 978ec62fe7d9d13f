import { messageOf, SignpipeError } from '../../../lib/errors.ts';
import type { SignerContext } from '../context/signer-context.ts';
import { Heartbeats } from './heartbeats.ts';
import { MetricsFile } from './metrics-file.ts';
import { Notifications } from './notifications.ts';
import { HoldObserver, observe, type Reporter } from './observation.ts';

/** How often a signer is observed, in ms. */
const EVERY = 2000;

/** Observes a signer while it watches, and hands each observation to all reporters. */
export class Reports {
  private readonly timer: NodeJS.Timeout;
  private readonly hold: HoldObserver;
  private observing = false;
  /** The error that was logged last. */
  private logged = '';

  private constructor(
    private readonly context: SignerContext,
    private readonly reporters: readonly Reporter[],
  ) {
    this.hold = new HoldObserver(context);
    this.timer = setInterval(() => void this.observe(), EVERY).unref();
  }

  static start(context: SignerContext): Reports {
    return new Reports(context, reportersFor(context));
  }

  /** Ends the reports. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    if (this.reporters.length === 0) return;
    try {
      const last = await observe(this.context, this.hold);
      await Promise.all(this.reporters.map((reporter) => reporter.close(last)));
    } catch (error) {
      // The end of the signer must not depend on its reports.
      this.context.log.debug({ err: error }, 'the signer could not be observed a last time');
    }
  }

  /** Logs once what keeps the signer from reporting, which readers take for silence. */
  private warn(error: unknown): void {
    const message = messageOf(error);
    if (message === this.logged) return;
    this.logged = message;
    const code = error instanceof SignpipeError ? error.code : 'internal-error';
    const hint = 'until this is mended there are no heartbeats, metrics and notifications';
    this.context.log.warn({ code, hint }, `the signer cannot be observed: ${message}`);
  }

  private async observe(): Promise<void> {
    if (this.observing || this.reporters.length === 0) return;
    this.observing = true;
    try {
      const observation = await observe(this.context, this.hold);
      for (const reporter of this.reporters) reporter.report(observation);
      this.logged = '';
    } catch (error) {
      this.warn(error);
    } finally {
      this.observing = false;
    }
  }
}

function reportersFor(context: SignerContext): Reporter[] {
  const { health, metrics, notify } = context.config;
  return [
    ...(health.heartbeat === null ? [] : [new Heartbeats(context, health.heartbeat)]),
    ...(metrics ? [new MetricsFile(context, metrics.file)] : []),
    ...(notify ? [new Notifications(context, notify)] : []),
  ];
}
