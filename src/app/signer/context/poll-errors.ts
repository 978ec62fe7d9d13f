import { messageOf, SignpipeError } from '../../../lib/errors.ts';
import type { SignerContext } from './signer-context.ts';

/** How often an error that repeats at each poll is logged, in ms. */
const AGAIN_AFTER = 60_000;
/** How many different errors are remembered. */
const REMEMBERED = 100;

/** Logs the errors of polls: one that repeats at each poll only once a minute, so that the log of a night can be read. */
export class PollErrors {
  /** When an error was logged last, by the monotonic clock. */
  private readonly logged = new Map<string, number>();

  constructor(
    private readonly log: SignerContext['log'],
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Logs an error, unless it was logged a short time ago. */
  report(error: unknown): void {
    const text = error instanceof SignpipeError ? `${error.code} ${error.message}` : messageOf(error);
    const last = this.logged.get(text);
    if (last !== undefined && this.now() - last < AGAIN_AFTER) return;
    this.logged.delete(text);
    this.logged.set(text, this.now());
    const [oldest] = this.logged.keys();
    if (this.logged.size > REMEMBERED && oldest !== undefined) this.logged.delete(oldest);
    logError({ log: this.log }, error);
  }

  /** Forgets what was logged: after a success, the same error is news again. */
  forget(): void {
    this.logged.clear();
  }
}

/** Logs an error with what to do about it; alarms at the highest level. */
export function logError({ log }: Pick<SignerContext, 'log'>, error: unknown): void {
  if (!(error instanceof SignpipeError)) {
    log.error({ err: error }, messageOf(error));
    return;
  }
  const fields = { code: error.code, hint: error.hint };
  if (error.kind === 'alarm') log.fatal(fields, `ALARM: ${error.message}`);
  else log.error(fields, error.message);
}
