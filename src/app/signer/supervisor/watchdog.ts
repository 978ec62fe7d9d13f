import type { Logger } from 'pino';
import type { SignerConfig } from '../../config/signer.ts';
import type { KeySettings } from '../../../engine/keys/open.ts';
import { parsePkcs11Uri } from '../../../engine/keys/pkcs11/uri.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { logError } from '../context/poll-errors.ts';
import type { Movement } from './movement.ts';

/** How often the watchdog looks, in ms, at the least; a short limit is looked at more often. */
const LOOK_EVERY = 10_000;

/** How long one call of a key may take, in ms, as far as that is configured; 0 if it is not. */
function keyTime({ key = '', keyTimeout = 0 }: Pick<KeySettings, 'key' | 'keyTimeout'>): number {
  if (!/^pkcs11:/i.test(key)) return keyTimeout;
  try {
    return parsePkcs11Uri(key).callMs ?? keyTimeout;
  } catch {
    return keyTimeout; // Opening the key reports it.
  }
}

/**
 * How long a signer may do nothing, in ms: `watchdog` of the configuration, or longer if a key may take longer for one
 * signature. 0 means for ever.
 */
export function longestStillness({ watchdog, channels }: SignerConfig): number {
  if (watchdog === 0) return 0;
  const keyTimes = [...channels.values()].flatMap(({ signing }) => [
    keyTime(signing),
    ...(signing.successor ? [keyTime(signing.successor)] : []),
  ]);
  return Math.max(watchdog, ...keyTimes.map((ms) => 2 * ms));
}

const stuck = (stage: string, seconds: number): SignpipeError =>
  new SignpipeError('local', 'signer-stuck', `${stage}: nothing has moved for ${seconds} s`, {
    hint: 'the next start takes up the request where it was; find out what hangs',
  });

interface WatchdogOptions {
  readonly movement: Movement;
  /** How long nothing may move, in ms; 0 for ever. */
  readonly limit: number;
  readonly log: Logger;
  /** Ends the process. */
  readonly end: () => void;
}

/** Whether a signer gets on. */
export const getsOn = ({ movement, limit }: Pick<WatchdogOptions, 'movement' | 'limit'>): boolean =>
  limit === 0 || movement.stillFor < limit;

/**
 * Ends a signer that does not get on, for example since a network share hangs: every transfer, program and service has
 * a time limit of its own, so no stage can be ended in any other way. The service manager starts the signer again, and
 * the journal takes it up where it was. Returns the function that stops the watchdog.
 */
export function startWatchdog(options: WatchdogOptions): () => void {
  const { movement, limit, log, end } = options;
  if (limit === 0) return () => {};
  const look = (): void => {
    if (getsOn(options)) return;
    const { stage, stillFor } = movement;
    const seconds = Math.round(stillFor / 1000);
    logError({ log }, stuck(stage, seconds));
    end();
  };
  const timer = setInterval(look, Math.min(LOOK_EVERY, limit / 4)).unref();
  return () => clearInterval(timer);
}
