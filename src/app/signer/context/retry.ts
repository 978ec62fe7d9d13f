import pRetry from 'p-retry';
import { SignpipeError } from '../../../lib/errors.ts';
import type { SignerContext } from './signer-context.ts';

/** Retries an action after errors that may pass, as often as the configuration says; throws all others at once. */
export function retry<T>(context: SignerContext, what: string, action: () => Promise<T>): Promise<T> {
  const { attempts, wait } = context.config.retry;
  return pRetry(action, {
    retries: attempts - 1,
    minTimeout: wait,
    factor: 2,
    maxTimeout: 60_000,
    shouldRetry: ({ error }) => error instanceof SignpipeError && error.retryable,
    onFailedAttempt: ({ error, retriesLeft }) => {
      if (error instanceof SignpipeError && error.retryable && retriesLeft > 0)
        context.log.warn({ code: error.code, retriesLeft }, `${what}: ${error.message}`);
    },
  });
}
