import pRetry from 'p-retry';
import { SignpipeError } from '../../lib/errors.ts';
import type { Site } from './signer-context.ts';

/** Tries again what is down, as often as the configuration says; every other error leaves at once. */
export function retrying<T>(site: Site, what: string, action: () => Promise<T>): Promise<T> {
  const { attempts, wait } = site.config.retry;
  return pRetry(action, {
    retries: attempts - 1,
    minTimeout: wait,
    factor: 2,
    maxTimeout: 60_000,
    shouldRetry: ({ error }) => error instanceof SignpipeError && error.retryable,
    onFailedAttempt: ({ error, retriesLeft }) => {
      if (error instanceof SignpipeError && error.retryable && retriesLeft > 0)
        site.log.warn({ code: error.code, retriesLeft }, `${what}: ${error.message}`);
    },
  });
}
