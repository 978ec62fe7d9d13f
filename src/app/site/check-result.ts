import { messageOf, SignpipeError } from '../../lib/errors.ts';

/** No check may take longer, in ms: a host that hangs is given up after 20 s, and Git after 25. */
export const CHECK_LIMIT = 60_000;

export type Status = 'ok' | 'warning' | 'bad';

/** What one look came to. */
export interface CheckResult {
  readonly status: Status;
  readonly message: string;
  /** Stable, for machines; that of the error where there was one. */
  readonly code?: string;
  /** What to do about it. */
  readonly hint?: string;
}

/** A result and the part of the site that it is about. */
export interface SiteFinding extends CheckResult {
  readonly check: string;
}

/** One part of a site, and how it is tried. Whatever `run` throws becomes a bad result. */
export interface SiteCheck {
  readonly name: string;
  readonly run: () => Promise<readonly CheckResult[]>;
}

export const ok = (message: string): CheckResult => ({ status: 'ok', message });

export const warning = (code: string, message: string, hint: string): CheckResult => ({
  status: 'warning',
  message,
  code,
  hint,
});

export const bad = (code: string, message: string, hint: string): CheckResult => ({
  status: 'bad',
  message,
  code,
  hint,
});

/** An error as a result; one that is no SignpipeError was not foreseen. */
export function resultOf(error: unknown, status: Status = 'bad'): CheckResult {
  if (!(error instanceof SignpipeError)) return { status, code: 'unexpected', message: messageOf(error) };
  const { code, message, hint } = error;
  return { status, code, message, ...(hint === undefined ? {} : { hint }) };
}

const late = (ms: number): CheckResult =>
  bad('check-timeout', `no answer within ${ms / 1000} s`, 'see whether the network or the other side hangs');

/** Runs one check to its end or its time limit. */
async function runCheck({ name, run }: SiteCheck, limitMs: number): Promise<SiteFinding[]> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<readonly CheckResult[]>((resolve) => {
    timer = setTimeout(() => resolve([late(limitMs)]), limitMs);
  });
  try {
    const results = await Promise.race([run(), limit]);
    return results.map((result) => ({ check: name, ...result }));
  } catch (error) {
    return [{ check: name, ...resultOf(error) }];
  } finally {
    clearTimeout(timer);
  }
}

/** Runs all checks side by side, each with the same limit, and gives their findings in the checks' order. */
export async function runChecks(checks: readonly SiteCheck[], limitMs: number): Promise<SiteFinding[]> {
  return (await Promise.all(checks.map((check) => runCheck(check, limitMs)))).flat();
}

/** The worst of several. */
export function worst(results: readonly CheckResult[]): Status {
  if (results.some(({ status }) => status === 'bad')) return 'bad';
  return results.some(({ status }) => status === 'warning') ? 'warning' : 'ok';
}

/**
 * For functions that warn of a key or passphrase file that others may read: the check of files reports it
 * (`secret-open`), and once is enough.
 */
export const silent = (): void => {};
