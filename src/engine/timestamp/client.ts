import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Der } from '../../lib/asn1/der.ts';
import type { DigestName } from '../../lib/asn1/oids.ts';
import { SignpipeError, usage } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { AuthorityState } from './authority-state.ts';
import { directEndpoint, type TimestampEndpoint } from './endpoint.ts';
import { buildTimestampRequest, parseTimestampResponse } from './tsp-messages.ts';
import { RequestWindow } from './request-window.ts';
import { StampAttempts } from './stamp-attempts.ts';
import { checkToken, parseToken, type TimestampInfo } from './token.ts';
import { trimToken } from './trim-token.ts';

/** A checked token, and the authority that it came from. */
export interface Timestamp {
  /** ContentInfo, DER. */
  readonly token: Buffer;
  readonly info: TimestampInfo;
  readonly url: string;
}

/**
 * A further check of a token (ContentInfo) in the form in which it will be embedded; `what` names the authority in
 * messages. If it throws, the authority has failed and the next one is asked.
 */
type CheckToken = (token: Der, what: string) => void;

/** What provides timestamps: a `TimestampClient`, or one that a test puts in its place. */
export interface Timestamper {
  /**
   * Gets a timestamp over `data`: for Authenticode, the signature value of the SignerInfo. Each authority is asked at
   * most `attempts` times.
   */
  timestamp(data: Buffer, hash: DigestName, check?: CheckToken, attempts?: number): Promise<Timestamp>;
}

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

const NONCE_BYTES = 16;

/** Returns 16 random octets that are a positive INTEGER without a leading zero: some authorities mangle others. */
function freshNonce(): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  nonce[0] = ((nonce[0] ?? 0) & 0x7f) | 0x40;
  return nonce;
}

/** What a timestamp is asked for. */
interface Query {
  readonly imprint: Buffer;
  readonly hash: DigestName;
  readonly check: CheckToken | undefined;
}

type Settings = typeof DEFAULTS & TimestampOptions;

function withDefaults(options: TimestampOptions): Settings {
  const overrides = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(overrides) };
}

/**
 * Gets timestamps from authorities in their order of preference. After a failure the other authorities are preferred
 * for a while; a Retry-After is obeyed; connections are reused. A token is returned only after every check of
 * `checkToken`. An authority whose answer is wrong is not asked again for the same timestamp.
 */
export class TimestampClient implements Timestamper {
  private readonly authorities: readonly AuthorityState[];
  private readonly settings: Settings;
  private readonly window: RequestWindow;

  /**
   * An authority that is given as a URL is asked directly. Throws `timestamp-url` if there is no authority, or a text
   * that is not an http or https URL, and `timestamp-proxy`.
   */
  constructor(authorities: readonly (string | TimestampEndpoint)[], options: TimestampOptions = {}) {
    if (authorities.length === 0) throw usage('timestamp-url', 'no timestamp authority is configured');
    this.authorities = [...new Set(authorities)].map(
      (each) => new AuthorityState(typeof each === 'string' ? directEndpoint(each) : each),
    );
    this.settings = withDefaults(options);
    this.window = new RequestWindow(this.settings.concurrency);
  }

  /**
   * Throws `TimestampUnavailable` if no authority returned a good token, and the signal's reason if that was aborted.
   */
  async timestamp(
    data: Buffer,
    hash: DigestName,
    check?: CheckToken,
    maxAttempts = this.settings.attempts,
  ): Promise<Timestamp> {
    const query = { imprint: createHash(hash).update(data).digest(), hash, check };
    const attempts = new StampAttempts(maxAttempts);
    let lastRound = 0;
    for (;;) {
      const { round, candidates } = attempts.candidates(this.authorities);
      if (candidates.length === 0) break;
      if (round > lastRound) await this.backOff(round);
      lastRound = round;
      const timestamp = await this.tryOne(attempts, candidates, query);
      if (timestamp) return timestamp;
    }
    throw attempts.outcome(this.authorities);
  }

  /** Pauses for a somewhat random time, so that many waiting timestamps are not requested again all at once. */
  private async backOff(round: number): Promise<void> {
    const pause = this.settings.backOffMs * 2 ** (round - 1);
    await this.pause(pause * (0.75 + Math.random() / 2));
  }

  private async pause(ms: number): Promise<void> {
    const { signal } = this.settings;
    signal?.throwIfAborted();
    try {
      await sleep(ms, undefined, signal ? { signal } : {});
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  /** Makes one attempt at the best candidate, which is chosen only when the request may be sent: more is known then. */
  private async tryOne(
    attempts: StampAttempts,
    candidates: readonly AuthorityState[],
    query: Query,
  ): Promise<Timestamp | undefined> {
    const now = performance.now();
    const shortest = Math.min(...candidates.map((authority) => authority.wait(now)));
    if (shortest > this.settings.longestWaitMs) {
      for (const authority of candidates) attempts.mustWait(authority, authority.wait(now));
      return undefined;
    }
    if (shortest > 0) await this.pause(shortest);
    return this.window.run(() => {
      const then = performance.now();
      const ready = candidates.filter((authority) => authority.wait(then) === 0);
      const [best] = ready.toSorted((a, b) => a.rank(then) - b.rank(then));
      return best && this.attempt(attempts, best, query);
    });
  }

  private async attempt(
    attempts: StampAttempts,
    authority: AuthorityState,
    query: Query,
  ): Promise<Timestamp | undefined> {
    const begun = performance.now();
    attempts.begin(authority);
    try {
      const timestamp = await this.request(authority.endpoint, query);
      authority.succeeded();
      this.window.succeeded();
      return timestamp;
    } catch (error) {
      this.settings.signal?.throwIfAborted();
      if (!(error instanceof SignpipeError)) throw error;
      authority.failed(error, begun, this.settings.restMs);
      this.window.failed(begun);
      attempts.failed(authority, error);
      this.settings.onFailure?.(authority.endpoint.url, error);
      return undefined;
    }
  }

  /** Sends one request and checks the answer. */
  private async request(endpoint: TimestampEndpoint, { imprint, hash, check }: Query): Promise<Timestamp> {
    const { policy, roots, clockToleranceMs, timeoutMs, signal } = this.settings;
    const { url } = endpoint;
    const nonce = freshNonce();
    const earliest = new Date(Date.now() - clockToleranceMs);
    const query = buildTimestampRequest({ imprint, hash, nonce, policy });
    const response = await endpoint.post(query, endpoint.timeoutMs ?? timeoutMs, signal);
    const latest = new Date(Date.now() + clockToleranceMs);
    const token = trimToken(parseTimestampResponse(response, url).token, roots, url);
    const expected = { imprint, hash, nonce, policy, roots, earliest, latest, what: url };
    const info = checkToken(parseToken(token, url), expected);
    check?.(token, url);
    return { token: token.raw, info, url };
  }
}
