import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { KeyUnavailable } from '../../../engine/keys/signing-key.ts';
import { SignpipeError } from '../../../lib/errors.ts';

/** The pauses between two attempts, in ms: each is twice as long as the last, up to the longest. */
const PAUSE = { first: 2000, longest: 60_000 };

const retryAfter = (error: SignpipeError): number =>
  error instanceof KeyUnavailable ? (error.retryAfterMs ?? 0) : 0;

interface WaitForKeysOptions {
  readonly log: Logger;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  /** Resolves when an attempt should be made at once; must stop listening when its signal is aborted. */
  readonly now: (signal: AbortSignal) => Promise<unknown>;
  /** Called when it begins to wait. */
  readonly onWaiting?: () => void;
  /** The first pause, in ms; 2 s unless given. */
  readonly firstPause?: number;
}

/** Whether an error at the start can pass by itself: a key or a host that cannot be reached. */
export const canPass = (error: unknown): error is SignpipeError =>
  error instanceof KeyUnavailable || (error instanceof SignpipeError && error.kind === 'unavailable');

/** Logs an error unless the last one was the same. */
function reportOnce(log: Logger, error: SignpipeError, last: string): string {
  const { code, message, hint } = error;
  const what = error instanceof KeyUnavailable ? 'key' : 'host';
  if (message !== last)
    log.error({ code, hint }, `${message}; the signer begins when the ${what} can be reached`);
  return message;
}

/** Waits, until `signal` or `now` ends that. */
async function pauseFor(ms: number, signal: AbortSignal, now: WaitForKeysOptions['now']): Promise<void> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  await Promise.race([now(either), sleep(ms, undefined, { signal: either }).catch(() => {})]);
  over.abort();
}

/**
 * Opens a signer; as long as one of its keys (its token is not there, its service is down) or hosts cannot be reached, it
 * waits and tries again, since such a signer runs unattended. Returns null if the signal ended that. Throws all other errors.
 */
export async function openWhenKeysAreThere<T>(
  open: () => Promise<T>,
  { log, signal, now, onWaiting, firstPause = PAUSE.first }: WaitForKeysOptions,
): Promise<T | null> {
  let last = '';
  for (let pause = firstPause; !signal.aborted; pause = Math.min(pause * 2, PAUSE.longest)) {
    try {
      return await open();
    } catch (error) {
      if (!canPass(error)) throw error;
      if (last === '') onWaiting?.();
      last = reportOnce(log, error, last);
      const ms = Math.max(pause, Math.min(retryAfter(error), PAUSE.longest));
      await pauseFor(ms, signal, now);
    }
  }
  return null;
}
