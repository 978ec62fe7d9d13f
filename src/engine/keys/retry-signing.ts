import { setMaxListeners } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import pRetry from 'p-retry';
import { KeyUnavailable } from './signing-key.ts';

/** How often a signature is tried in all: with the pauses between, a service may be away for 7 seconds. */
const ATTEMPTS = 5;
/** The pause after the first attempt, in milliseconds. It doubles each time. */
const FIRST_PAUSE = 500;
/** The longest pause that a service may ask for, in milliseconds; if it asks for more, that is an error now. */
const LONGEST_WAIT = 60_000;

export interface SigningRetry {
  /** Ends the pauses: `close` of the key aborts it. Its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** The first pause, in milliseconds; default 500. */
  readonly firstPause?: number;
}

const mayPass = (error: unknown): error is KeyUnavailable =>
  error instanceof KeyUnavailable && (error.retryAfterMs ?? 0) <= LONGEST_WAIT;

/**
 * Asks for a signature up to five times while it throws `KeyUnavailable`, after pauses that double, or that the service
 * asked for. All other errors, and the last one, are thrown as they are. Use it around one call of a service or a program:
 * nothing above repeats a signature, and an SDK's own retries have to be switched off.
 */
export function retrySigning<T>(
  attempt: () => Promise<T>,
  { signal, firstPause = FIRST_PAUSE }: SigningRetry = {},
): Promise<T> {
  // One signal ends all signatures in flight, of which there may be hundreds: Node would warn of a leak at eleven.
  if (signal) setMaxListeners(0, signal);
  return pRetry(attempt, {
    retries: ATTEMPTS - 1,
    minTimeout: firstPause,
    factor: 2,
    signal,
    shouldRetry: ({ error }) => mayPass(error),
    onFailedAttempt: async ({ error, retriesLeft }) => {
      if (mayPass(error) && retriesLeft > 0 && error.retryAfterMs !== undefined)
        await pause(error.retryAfterMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    },
  });
}
