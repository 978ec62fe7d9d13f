import type { SignpipeError } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';

export interface TimestampOptions {
  /** For one request, from connecting to the last byte of the answer; 15 s unless given. */
  readonly timeoutMs?: number | undefined;
  /** The largest number of requests in flight, over all authorities; 64 unless given. See `RequestWindow`. */
  readonly concurrency?: number | undefined;
  /** How often each authority is asked for one timestamp, at most; 3 unless given. */
  readonly attempts?: number | undefined;
  /** The pause before all authorities are asked again, doubled every round; 1 s unless given. */
  readonly backOffMs?: number | undefined;
  /** How long other authorities are preferred to one that failed; 1 min unless given. */
  readonly restMs?: number | undefined;
  /** The longest Retry-After that one timestamp waits for; 1 min unless given. */
  readonly longestWaitMs?: number | undefined;
  /** How far the time of a token may be from this machine's clock; 5 min unless given. */
  readonly clockToleranceMs?: number | undefined;
  /** The policy to ask for, dotted. */
  readonly policy?: string | undefined;
  /** The authority's chain must lead to one of these. Chains are not checked if left out. */
  readonly roots?: readonly Certificate[] | undefined;
  /** Ends all waiting. */
  readonly signal?: AbortSignal | undefined;
  /** Called after every failed attempt, for the log. */
  readonly onFailure?: ((url: string, error: SignpipeError) => void) | undefined;
}

const DEFAULTS = {
  timeoutMs: 15_000,
  concurrency: 64,
  attempts: 3,
  backOffMs: 1000,
  restMs: 60_000,
  longestWaitMs: 60_000,
  clockToleranceMs: 300_000,
};

/** The options, with a value for each that has a default. */
export type Settings = typeof DEFAULTS & TimestampOptions;

export function withDefaults(options: TimestampOptions): Settings {
  const overrides = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(overrides) };
}
