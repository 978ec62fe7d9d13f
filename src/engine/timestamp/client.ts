import { plural } from '../../lib/plural.ts';
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Der } from '../../lib/asn1/der.ts';
import type { DigestName } from '../../lib/asn1/oids.ts';
import { Semaphore } from '../../lib/concurrency/semaphore.ts';
import { messageOf, SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import type { Certificate } from '../../lib/x509/certificate.ts';
import { postTimestampQuery, HttpStatusError, parseEndpoint, type Endpoint } from './http.ts';
import { proxyFor } from './proxy.ts';
import { trimToken } from './trim-token.ts';
import {
  buildTimestampRequest,
  checkToken,
  parseToken,
  parseTimestampResponse,
  type TimestampInfo,
} from './token.ts';

/** A checked token, and where it came from. */
export interface Timestamp {
  /** ContentInfo, DER. */
  readonly token: Buffer;
  readonly info: TimestampInfo;
  readonly url: string;
}

/**
 * The last check of a token (ContentInfo) as it will be embedded. What it throws is a failure of the
 * authority, which `what` names, and the next one is asked.
 */
export type CheckToken = (token: Der, what: string) => void;

export interface Timestamper {
  /**
   * Stamps `data`: for Authenticode, the SignerInfo's signature value. `attempts` is how often each authority is
   * asked at the most.
   */
  timestamp(data: Buffer, hash: DigestName, judge?: CheckToken, attempts?: number): Promise<Timestamp>;
}

export interface TimestampOptions {
  /** For one request, from connecting to the last byte of the answer; 15 s unless given. */
  readonly timeoutMs?: number | undefined;
  /**
   * The most requests in flight at once, over all authorities; 64 unless given. Eight are the first,
   * and each good answer makes room for one more; a failure halves the room.
   */
  readonly concurrency?: number | undefined;
  /** How often each authority is asked for one stamp at the most; 3 unless given. */
  readonly attempts?: number | undefined;
  /** The pause before everyone is asked again, doubled every round; 1 s unless given. */
  readonly backOffMs?: number | undefined;
  /** How long an authority that failed stands at the end of the order; 1 min unless given. */
  readonly restMs?: number | undefined;
  /** The longest Retry-After that one stamp waits for; 1 min unless given. None counts for more than ten minutes. */
  readonly longestWaitMs?: number | undefined;
  /** How far a token's time may be from this machine's; 5 min unless given. */
  readonly clockToleranceMs?: number | undefined;
  /** The policy to ask for, dotted. */
  readonly policy?: string | undefined;
  /** With these the authority's chain is checked before a token is taken. */
  readonly roots?: readonly Certificate[] | undefined;
  /** Ends all waiting. */
  readonly signal?: AbortSignal | undefined;
  /** Told of every attempt that failed, for the log. */
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

/** 16 random octets whose first is neither zero nor negative: some authorities mangle other ones. */
function freshNonce(): Buffer {
  const nonce = randomBytes(NONCE_BYTES);
  nonce[0] = ((nonce[0] ?? 0) & 0x7f) | 0x40;
  return nonce;
}

/** Whether the same question may get a better answer from the same authority a moment later. */
function worthAnotherTry(error: SignpipeError): boolean {
  if (error instanceof HttpStatusError) return error.status >= 500 || [408, 425, 429].includes(error.status);
  return error.kind === 'unavailable' || error.code === 'timestamp-status';
}

/** What to do about an authority that failed, unless its error says so. */
function hintFor({ code, kind, hint }: SignpipeError): string {
  if (hint !== undefined) return hint;
  if (code === 'timestamp-malformed')
    return 'the authority does not answer in DER, as RFC 3161 requires: report it to its operator, or name another';
  return kind === 'invalid' && code !== 'timestamp-status'
    ? 'the authority answers wrongly, or someone on the network answers in its place: name another'
    : 'check the network, or name more authorities';
}

/** One authority's failures for one stamp. */
interface Failure {
  readonly why: string;
  readonly hint: string;
  /** Whether the same authority may well give a good token later. */
  readonly transient: boolean;
}

/**
 * No authority gave a good token. `transient`: for some of them that can be over later, since they are down, asked
 * for time, or said that they have no time to give; the others answered wrongly.
 */
export class TimestampUnavailable extends SignpipeError {
  constructor(
    { kind, code, message, hint }: SignpipeError,
    readonly transient: boolean,
  ) {
    super(kind, code, message, hint === undefined ? {} : { hint });
  }
}

/** No Retry-After counts for longer, in ms: it is not signed, and anyone on the network can send one. */
const LONGEST_HOLD = 600_000;

/** One authority and how it has behaved. Times are milliseconds of the monotonic clock. */
class AuthorityState {
  /** It asked not to be bothered before this. */
  private heldUntil = 0;
  /** It failed, and others come first until this. */
  private restsUntil = 0;
  private lastFailure = 0;

  constructor(readonly endpoint: Endpoint) {}

  /** Where it stands: those that did not fail first, then those whose rest ends soonest. */
  rank(now: number): number {
    const until = Math.max(this.heldUntil, this.restsUntil);
    return until > now ? until : 0;
  }

  wait(now: number): number {
    return Math.max(0, this.heldUntil - now);
  }

  succeeded(): void {
    this.restsUntil = 0;
    this.heldUntil = 0;
  }

  /** Requests begun before the last failure say nothing new. */
  failed(error: SignpipeError, begun: number, restMs: number): void {
    const now = performance.now();
    const asked = error instanceof HttpStatusError ? error.retryAfterMs : undefined;
    if (asked !== undefined) this.heldUntil = Math.max(this.heldUntil, now + Math.min(asked, LONGEST_HOLD));
    if (begun < this.lastFailure) return;
    this.lastFailure = now;
    this.restsUntil = now + restMs;
  }
}

/** How many requests are in flight before anything is known of an authority's strength. */
const FIRST_IN_FLIGHT = 8;

/** Lets as many requests at a time through as authorities show that they can bear (as TCP starts, RFC 5681). */
class RequestWindow {
  private readonly semaphore: Semaphore;
  private lastCut = 0;

  constructor(private readonly most: number) {
    this.semaphore = new Semaphore(Math.min(FIRST_IN_FLIGHT, most));
  }

  run<T>(request: () => Promise<T> | T): Promise<T> {
    return this.semaphore.run(request);
  }

  succeeded(): void {
    if (this.semaphore.limit < this.most) this.semaphore.limit += 1;
  }

  /** Of several requests that fail together only the first cuts. `begun` is a time of the monotonic clock. */
  failed(begun: number): void {
    if (begun < this.lastCut) return;
    this.lastCut = performance.now();
    this.semaphore.limit = Math.max(1, this.semaphore.limit >> 1);
  }
}

/** The search for one stamp: who was asked how often, and what they said. */
class StampAttempts {
  private readonly asked = new Map<AuthorityState, number>();
  private readonly givenUp = new Set<AuthorityState>();
  private readonly failures = new Map<AuthorityState, Failure[]>();

  constructor(private readonly attempts: number) {}

  /** Those asked least; an authority is asked again only when all others were too. */
  candidates(authorities: readonly AuthorityState[]): { round: number; candidates: AuthorityState[] } {
    const left = authorities.filter((a) => !this.givenUp.has(a) && this.count(a) < this.attempts);
    const round = Math.min(...left.map((a) => this.count(a)));
    return { round, candidates: left.filter((a) => this.count(a) === round) };
  }

  begin(authority: AuthorityState): void {
    this.asked.set(authority, this.count(authority) + 1);
  }

  failed(authority: AuthorityState, failure: Failure, final: boolean): void {
    this.failures.set(authority, [...(this.failures.get(authority) ?? []), failure]);
    if (final) this.givenUp.add(authority);
  }

  /** Every authority and each different reason, in the configured order; and what to do about each. */
  outcome(authorities: readonly AuthorityState[]): TimestampUnavailable {
    const lines = authorities.map((authority) => {
      const failures = this.failures.get(authority) ?? [];
      const [why, hints] = [failures.map((each) => each.why), failures.map((each) => each.hint)];
      const [times, { url }] = [this.count(authority), authority.endpoint];
      return {
        message: `${url} (asked ${plural(times, 'time')}): ${[...new Set(why)].join(', then ')}`,
        hint: `${authorities.length > 1 ? `${url}: ` : ''}${[...new Set(hints)].join(', or ')}`,
      };
    });
    const error = unavailable(
      'timestamp-unavailable',
      `no timestamp authority gave a good token: ${lines.map(({ message }) => message).join('; ')}`,
      { hint: lines.map(({ hint }) => hint).join('; ') },
    );
    return new TimestampUnavailable(
      error,
      [...this.failures.values()].flat().some(({ transient }) => transient),
    );
  }

  private count(authority: AuthorityState): number {
    return this.asked.get(authority) ?? 0;
  }
}

/** What is to be stamped. */
interface Query {
  readonly imprint: Buffer;
  readonly hash: DigestName;
  readonly judge: CheckToken | undefined;
}

type Settings = typeof DEFAULTS & TimestampOptions;

function withDefaults(options: TimestampOptions): Settings {
  const given = Object.entries(options).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given) };
}

/**
 * Timestamp authorities in their order of preference. One that fails stands behind the others for a
 * while; a Retry-After is obeyed; connections are kept. A token is handed out only after every check
 * of `checkToken`. An authority whose answer is wrong is not asked again for the same stamp.
 */
export class TimestampClient implements Timestamper {
  private readonly authorities: readonly AuthorityState[];
  private readonly settings: Settings;
  private readonly window: RequestWindow;

  /** Throws `timestamp-url` for an address that is none, or when there is none at all, and `timestamp-proxy`. */
  constructor(urls: readonly string[], options: TimestampOptions = {}) {
    if (urls.length === 0) throw usage('timestamp-url', 'no timestamp authority is configured');
    const endpoints = new Map(urls.map((url) => [url, parseEndpoint(url)]));
    for (const { url } of endpoints.values()) proxyFor(url);
    this.authorities = [...endpoints.values()].map((endpoint) => new AuthorityState(endpoint));
    this.settings = withDefaults(options);
    this.window = new RequestWindow(this.settings.concurrency);
  }

  /**
   * Throws a TimestampUnavailable (`timestamp-unavailable`) when no authority gave a good token; it lists each
   * authority, why, and what to do. Throws the signal's reason when aborted.
   */
  async timestamp(
    data: Buffer,
    hash: DigestName,
    judge?: CheckToken,
    attempts = this.settings.attempts,
  ): Promise<Timestamp> {
    const query = { imprint: createHash(hash).update(data).digest(), hash, judge };
    const tries = new StampAttempts(attempts);
    let lastRound = 0;
    for (;;) {
      const { round, candidates } = tries.candidates(this.authorities);
      if (candidates.length === 0) break;
      if (round > lastRound) await this.backOff(round);
      lastRound = round;
      const found = await this.tryOne(tries, candidates, query);
      if (found) return found;
    }
    throw tries.outcome(this.authorities);
  }

  /** Pauses with a little chance in it, so that many waiting stamps do not come back as one crowd. */
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

  /** One attempt with the best candidate, chosen only when its turn has come: by then more is known. */
  private async tryOne(
    tries: StampAttempts,
    candidates: readonly AuthorityState[],
    query: Query,
  ): Promise<Timestamp | undefined> {
    const now = performance.now();
    const soonest = Math.min(...candidates.map((authority) => authority.wait(now)));
    if (soonest > this.settings.longestWaitMs) return this.tooLong(tries, candidates, now);
    if (soonest > 0) await this.pause(soonest);
    return this.window.run(() => {
      const then = performance.now();
      const ready = candidates.filter((authority) => authority.wait(then) === 0);
      const [best] = ready.toSorted((a, b) => a.rank(then) - b.rank(then));
      return best && this.attempt(tries, best, query);
    });
  }

  private tooLong(tries: StampAttempts, candidates: readonly AuthorityState[], now: number): undefined {
    for (const authority of candidates) {
      const seconds = Math.ceil(authority.wait(now) / 1000);
      const why = `asks to wait another ${seconds} s`;
      tries.failed(authority, { why, hint: 'wait, or name more authorities', transient: true }, true);
    }
  }

  private async attempt(
    tries: StampAttempts,
    authority: AuthorityState,
    query: Query,
  ): Promise<Timestamp | undefined> {
    const begun = performance.now();
    tries.begin(authority);
    try {
      const found = await this.ask(authority.endpoint, query);
      authority.succeeded();
      this.window.succeeded();
      return found;
    } catch (error) {
      this.settings.signal?.throwIfAborted();
      if (!(error instanceof SignpipeError)) throw error;
      authority.failed(error, begun, this.settings.restMs);
      this.window.failed(begun);
      const reason = messageOf(error).replace(`${authority.endpoint.url}: `, '');
      const again = worthAnotherTry(error);
      const failure = {
        why: `${reason} [${error.code}]`,
        hint: hintFor(error),
        // A page instead of an answer is of something in between, such as a proxy whose other side is down.
        transient: again || error.code === 'timestamp-content-type',
      };
      tries.failed(authority, failure, !again);
      this.settings.onFailure?.(authority.endpoint.url, error);
      return undefined;
    }
  }

  /** One request and all the checks of its answer. */
  private async ask(endpoint: Endpoint, { imprint, hash, judge }: Query): Promise<Timestamp> {
    const { policy, roots, clockToleranceMs, timeoutMs, signal } = this.settings;
    const { url } = endpoint;
    const nonce = freshNonce();
    const earliest = new Date(Date.now() - clockToleranceMs);
    const query = buildTimestampRequest({ imprint, hash, nonce, policy });
    const answer = await postTimestampQuery(endpoint, query, timeoutMs, signal);
    const latest = new Date(Date.now() + clockToleranceMs);
    const token = trimToken(parseTimestampResponse(answer, url).token, roots, url);
    const expected = { imprint, hash, nonce, policy, roots, earliest, latest, what: url };
    const info = checkToken(parseToken(token, url), expected);
    judge?.(token, url);
    return { token: token.raw, info, url };
  }
}
