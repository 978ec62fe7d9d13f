import { setTimeout as sleep } from 'node:timers/promises';
import type { DigestName } from '../../lib/asn1/oids.ts';
import { withDeadline } from '../../lib/concurrency/deadline.ts';
import { SignpipeError, unavailable, usage } from '../../lib/errors.ts';
import type { AuthorityHealth } from './authority-record.ts';
import { AuthorityState } from './authority-state.ts';
import { chooseAuthority } from './choose-authority.ts';
import { directEndpoint, type TimestampEndpoint } from './transport/endpoint.ts';
import { LateAnswers } from './late-answers.ts';
import {
  queryAuthority,
  stampQuery,
  type CheckToken,
  type StampQuery,
  type Timestamp,
} from './query-authority.ts';
import { RequestWindow } from './request-window.ts';
import { StampAttempts } from './stamp-attempts.ts';
import { withDefaults, type Settings, type TimestampOptions } from './timestamp-options.ts';

export type { Timestamp } from './query-authority.ts';
export type { TimestampOptions } from './timestamp-options.ts';

/** What provides timestamps: a `TimestampClient`, or one that a test puts in its place. */
export interface Timestamper {
  /** How many timestamps may be in flight, if that is known. */
  readonly concurrency?: number | undefined;
  /**
   * Gets a timestamp over `data`: for Authenticode, the signature value of the SignerInfo. `trial`: each authority is
   * asked once, also one that is out of order.
   */
  timestamp(data: Buffer, hash: DigestName, check?: CheckToken, trial?: boolean): Promise<Timestamp>;
  /** What is known of each authority, in the configured order; empty if nothing is. */
  readonly health?: readonly AuthorityHealth[];
  /** Changes whenever `health` may have changed. */
  readonly answers?: number;
}

/** One timestamp that is being asked for. */
interface PendingStamp {
  readonly query: StampQuery;
  readonly attempts: StampAttempts;
  readonly late: LateAnswers<Timestamp>;
  readonly trial: boolean;
}

/**
 * Gets timestamps from authorities in their order of preference, for many programs at once. What one timestamp finds
 * out spares the others: an authority that is late or failed is passed over, and later tried by a single request, whose
 * token is not used if another authority is there. One that failed in every attempt is left alone for a while; if
 * that is so for all, every timestamp fails soon. A Retry-After is obeyed; connections are reused. A token is returned
 * only after every check of `checkToken`. An authority whose answer is wrong is not asked again for the same timestamp.
 */
export class TimestampClient implements Timestamper {
  readonly concurrency: number;
  private readonly authorities: readonly AuthorityState[];
  private readonly settings: Settings;
  private readonly window: RequestWindow;
  /** For authorities that take no more requests than usual, if another one takes more. */
  private readonly usualWindow: RequestWindow;

  /**
   * An authority that is given as a URL is asked directly. Throws `timestamp-url` if there is no authority, or a text
   * that is not an http or https URL, and `timestamp-proxy`.
   */
  constructor(authorities: readonly (string | TimestampEndpoint)[], options: TimestampOptions = {}) {
    if (authorities.length === 0) throw usage('timestamp-url', 'no timestamp authority is configured');
    this.settings = withDefaults(options);
    this.authorities = [...new Set(authorities)].map((each) => this.open(each));
    const together = Math.max(0, ...this.authorities.map(({ endpoint }) => endpoint.concurrency ?? 0));
    this.concurrency = Math.max(this.settings.concurrency, together);
    this.window = new RequestWindow(this.concurrency, together > 0 ? together : undefined);
    this.usualWindow = together > 0 ? new RequestWindow(this.settings.concurrency) : this.window;
  }

  private open(authority: string | TimestampEndpoint): AuthorityState {
    const endpoint = typeof authority === 'string' ? directEndpoint(authority) : authority;
    const { attempts: threshold, ...limits } = this.settingsFor(endpoint);
    return new AuthorityState(endpoint, { ...limits, threshold });
  }

  /** What is known of each authority, in the configured order. */
  get health(): readonly AuthorityHealth[] {
    const now = performance.now();
    return this.authorities.map((authority) => authority.health(now));
  }

  /** Changes whenever `health` may have changed. */
  get answers(): number {
    return this.authorities.reduce((sum, { answers }) => sum + answers, 0);
  }

  /**
   * Throws `TimestampUnavailable` if no authority returned a good token, the signal's reason if that was aborted, and
   * alarms of the way to an authority.
   */
  async timestamp(data: Buffer, hash: DigestName, check?: CheckToken, trial = false): Promise<Timestamp> {
    const { attempts, signal } = this.settings;
    const late = new LateAnswers<Timestamp>(signal);
    const query = stampQuery(data, hash, check);
    const asked = this.ask({ query, attempts: new StampAttempts(trial ? 1 : attempts), late, trial });
    try {
      return await Promise.race([asked, late.first]);
    } finally {
      late.end();
    }
  }

  /** Asks one authority after another. Late answers are waited for at the end, and between the rounds. */
  private async ask(stamp: PendingStamp): Promise<Timestamp> {
    const { attempts, late } = stamp;
    let lastRound = 0;
    while (!late.isOver) {
      const { round, candidates } = attempts.candidates(this.authorities);
      if (candidates.length === 0) {
        if (await late.next()) continue;
        throw attempts.outcome(this.authorities);
      }
      if (round > lastRound) await this.backOff(round, late.signal);
      lastRound = round;
      const timestamp = await this.tryOne(stamp, candidates);
      if (timestamp) return timestamp;
    }
    return late.first;
  }

  /** Pauses for a somewhat random time, so that many waiting timestamps are not requested again all at once. */
  private async backOff(round: number, signal: AbortSignal): Promise<void> {
    const pause = this.settings.backOffMs * 2 ** (round - 1);
    await this.pause(pause * (0.75 + Math.random() / 2), signal);
  }

  private async pause(ms: number, signal: AbortSignal): Promise<void> {
    try {
      await sleep(ms, undefined, { signal });
    } catch (error) {
      this.settings.signal?.throwIfAborted();
      throw error;
    }
  }

  /** Makes one attempt at the best candidate, which is chosen only when the request may be sent: more is known then. */
  private async tryOne(
    stamp: PendingStamp,
    candidates: readonly AuthorityState[],
  ): Promise<Timestamp | undefined> {
    const now = performance.now();
    const shortest = Math.min(...candidates.map((authority) => authority.wait(now)));
    if (shortest > this.settings.longestWaitMs) {
      for (const authority of candidates) stamp.attempts.mustWait(authority, authority.wait(now));
      return undefined;
    }
    if (shortest > 0) await this.pause(shortest, stamp.late.signal);
    return this.window.run(() => this.askBest(stamp, candidates));
  }

  private async askBest(
    stamp: PendingStamp,
    candidates: readonly AuthorityState[],
  ): Promise<Timestamp | undefined> {
    if (stamp.late.isOver) return undefined;
    const choice = chooseAuthority(candidates, performance.now(), stamp.trial);
    if (choice.act === 'join') await choice.probe;
    if (choice.act === 'fail') for (const each of choice.open) stamp.attempts.notAsked(each);
    if (choice.act !== 'ask') return undefined;
    for (const each of choice.probes) this.tryUnused(each, stamp.query);
    return this.inWindow(stamp, choice.authority);
  }

  private windowOf({ endpoint }: AuthorityState): RequestWindow {
    return endpoint.concurrency === undefined ? this.usualWindow : this.window;
  }

  /** Makes an attempt when the authority's own window permits it; if it failed meanwhile, another one may be better. */
  private inWindow(stamp: PendingStamp, authority: AuthorityState): Promise<Timestamp | undefined> {
    const window = this.windowOf(authority);
    if (window === this.window || !authority.isSound) return this.inGoodTime(stamp, authority);
    return window.run(() => {
      if (stamp.late.isOver || !authority.isSound || authority.wait(performance.now()) > 0) return undefined;
      return this.inGoodTime(stamp, authority);
    });
  }

  /** Makes an attempt. If another authority could be asked meanwhile, a late answer is left to `stamp.late`. */
  private async inGoodTime(stamp: PendingStamp, authority: AuthorityState): Promise<Timestamp | undefined> {
    const attempt = this.attempt(stamp, authority);
    if (authority.isOpen) authority.beginProbe(attempt);
    const { candidates } = stamp.attempts.candidates(this.authorities);
    if (!candidates.some(({ isSound }) => isSound)) return attempt;
    const timely = await withDeadline<Timestamp | 'late' | undefined>(
      attempt,
      authority.patience,
      () => 'late',
    );
    if (timely !== 'late') return timely;
    authority.late();
    stamp.late.add(attempt);
    return undefined;
  }

  private async attempt(
    { attempts, late, query }: PendingStamp,
    authority: AuthorityState,
  ): Promise<Timestamp | undefined> {
    const begun = performance.now();
    attempts.begin(authority);
    try {
      const timestamp = await queryAuthority(
        authority.endpoint,
        query,
        this.settingsFor(authority.endpoint),
        late.signal,
      );
      authority.succeeded(begun);
      for (const window of new Set([this.window, this.windowOf(authority)])) window.succeeded();
      return timestamp;
    } catch (error) {
      this.settings.signal?.throwIfAborted();
      if (late.isOver) this.lostTo(authority, begun);
      // An alarm, such as a changed host key on the way to the authority, is no outage.
      else if (error instanceof SignpipeError && error.kind !== 'alarm') {
        this.report(authority, error, begun);
        this.windowOf(authority).failed(begun);
        attempts.failed(authority, error);
      } else throw error;
      return undefined;
    }
  }

  /** Tries an authority that failed, while another is asked for the same timestamp; its token is not used. */
  private tryUnused(authority: AuthorityState, query: StampQuery): void {
    const begun = performance.now();
    const timeoutMs = authority.patience;
    const settings = { ...this.settings, timeoutMs };
    const trial = queryAuthority(authority.endpoint, query, settings, this.settings.signal).then(
      () => authority.succeeded(begun),
      (error: unknown) => error instanceof SignpipeError && this.report(authority, error, begun),
    );
    authority.beginProbe(trial);
  }

  /** Notes an attempt that was ended because another authority had answered: a failure only if it was late. */
  private lostTo(authority: AuthorityState, begun: number): void {
    const ms = performance.now() - begun;
    if (ms < authority.patience) return;
    const what = `${authority.endpoint.url}: no answer within ${(ms / 1000).toFixed(1)} s, and another authority has answered`;
    this.report(authority, unavailable('timestamp-timeout', what), begun);
  }

  private report(authority: AuthorityState, error: SignpipeError, begun: number): void {
    authority.failed(error, begun);
    this.settings.onFailure?.(authority.endpoint.url, error);
  }

  private settingsFor({ timeoutMs = this.settings.timeoutMs }: TimestampEndpoint): Settings {
    return { ...this.settings, timeoutMs };
  }
}
