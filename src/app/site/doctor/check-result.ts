import { messageOf, SignpipeError } from '../../../lib/errors.ts';
import { withDeadline } from '../../../lib/concurrency/deadline.ts';

/** The longest time for one check, in ms. SSH gives up on a silent host after 20 s, and Git after 25. */
const CHECK_LIMIT = 60_000;

export type Status = 'ok' | 'warning' | 'bad';

/** One line of what a check reports. */
export interface CheckResult {
  readonly status: Status;
  readonly message: string;
  /** Stable, for machines; the error's code if an error was thrown. */
  readonly code?: string;
  /** What the operator can do about it. */
  readonly hint?: string;
}

/** A result and the name of the check that reported it. */
export interface SiteFinding extends CheckResult {
  readonly check: string;
}

/** A check of one part of a site. An error that `run` throws becomes a bad result. */
export interface SiteCheck {
  readonly name: string;
  readonly run: () => Promise<readonly CheckResult[]>;
}

export const ok = (message: string): CheckResult => ({ status: 'ok', message });

const finding =
  (status: Status) =>
  (code: string, message: string, hint: string): CheckResult => ({ status, message, code, hint });

export const warning = finding('warning');
export const bad = finding('bad');

/** Reports an error. One that is not a SignpipeError is a fault of this program: `unexpected`. */
export function resultOf(error: unknown, status: Status = 'bad'): CheckResult {
  if (!(error instanceof SignpipeError)) return { status, code: 'unexpected', message: messageOf(error) };
  const { code, message, hint } = error;
  return { status, code, message, ...(hint === undefined ? {} : { hint }) };
}

const timedOut = (ms: number): CheckResult =>
  bad('check-timeout', `no answer within ${ms / 1000} s`, 'check whether the network or the host hangs');

/** Runs one check until it ends or its time is up. */
async function runCheck({ name, run }: SiteCheck, limitMs: number): Promise<SiteFinding[]> {
  try {
    const results = await withDeadline(run(), limitMs, () => [timedOut(limitMs)]);
    return results.map((result) => ({ check: name, ...result }));
  } catch (error) {
    return [{ check: name, ...resultOf(error) }];
  }
}

/** Runs all checks at the same time, each for at most `limitMs`; the findings are in the order of the checks. */
export async function runChecks(checks: readonly SiteCheck[], limitMs = CHECK_LIMIT): Promise<SiteFinding[]> {
  return (await Promise.all(checks.map((check) => runCheck(check, limitMs)))).flat();
}

export function worst(results: readonly CheckResult[]): Status {
  if (results.some(({ status }) => status === 'bad')) return 'bad';
  return results.some(({ status }) => status === 'warning') ? 'warning' : 'ok';
}

/** For functions that warn about a key or passphrase file that others can read: `checkFiles` reports those. */
export const silent = (): void => {};
