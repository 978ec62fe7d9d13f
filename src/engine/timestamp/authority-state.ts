import type { SignpipeError } from '../../lib/errors.ts';
import { AuthorityRecord, type AuthorityHealth, type CircuitState } from './authority-record.ts';
import type { TimestampEndpoint } from './transport/endpoint.ts';
import { HttpStatusError } from './transport/http.ts';

/** The longest Retry-After that is obeyed, in ms: it is not signed, and anyone on the network can send one. */
const MAX_RETRY_AFTER = 600_000;
/** The rest after a first failure, in ms; it doubles with each further one in a row. */
const FIRST_REST = 5000;
/** An authority is late after this part of its time-out, or after this multiple of its median. */
const LATE = { part: 1 / 5, medians: 3 };

/** Failures closer together than this part of the back-off count as one. Back-offs vary from 0.75 to 1.25. */
const SHORTEST_BACK_OFF = 0.5;

interface AuthorityLimits {
  /** How many failures in a row open the circuit. */
  readonly threshold: number;
  /** The longest rest after a failure, in ms. */
  readonly restMs: number;
  /** The pause of one timestamp before its second attempt, in ms; it doubles every time. */
  readonly backOffMs: number;
  /** How long one answer may take, in ms. */
  readonly timeoutMs: number;
}

/**
 * How one authority behaves: a circuit breaker, the pauses that it asks for, and a record for people. Once it has failed
 * `threshold` times in a row (a time-out counts as half of that) its circuit is open: it is left alone until its rest
 * is over, and then tried by a single request. All times are milliseconds of the monotonic clock.
 */
export class AuthorityState {
  /** The last failure, until a good answer. */
  lastError: SignpipeError | null = null;
  private currentProbe: Promise<void> | null = null;
  private readonly record = new AuthorityRecord();
  /** Until then no request is sent: its Retry-After asked for that. */
  private heldUntil = 0;
  /** Until then other authorities are preferred, because this one failed. */
  private restsUntil = 0;
  private lastFailure = 0;
  /** Failures in a row. */
  private failures = 0;
  /** The same, with time-outs counted as several. */
  private weight = 0;
  /** Whether a request is overdue, and none has been answered since. */
  private isLate = false;

  constructor(
    readonly endpoint: TimestampEndpoint,
    private readonly limits: AuthorityLimits,
  ) {}

  /** Whether nothing speaks against asking it. */
  get isSound(): boolean {
    return this.failures === 0 && !this.isLate;
  }

  get isOpen(): boolean {
    return this.weight >= this.limits.threshold;
  }

  /** How long an answer may take before another authority is asked too, in ms. */
  get patience(): number {
    const { timeoutMs } = this.limits;
    const usual = (this.record.medianMs ?? 0) * LATE.medians;
    return Math.min(timeoutMs, Math.max(timeoutMs * LATE.part, usual));
  }

  /** Changes with every answer. */
  get answers(): number {
    return this.record.answers;
  }

  /** The single request that tries it while it is out of order; it never rejects. */
  get probe(): Promise<void> | null {
    return this.currentProbe;
  }

  /** When its rest ends. */
  get restEnd(): number {
    return this.restsUntil;
  }

  /** Whether it failed, and may be tried by a single request now. */
  isDue(now: number): boolean {
    return !this.isSound && this.probe === null && now >= this.restsUntil;
  }

  /** How long no request may be sent yet. */
  wait(now: number): number {
    return Math.max(0, this.heldUntil - now, this.endpoint.pace?.wait(now) ?? 0);
  }

  health(now: number): AuthorityHealth {
    const circuit: CircuitState = !this.isOpen
      ? 'closed'
      : this.probe !== null || this.isDue(now)
        ? 'half-open'
        : 'open';
    return this.record.health(this.endpoint.url, circuit);
  }

  /** Makes a request the `probe` until it has ended. */
  beginProbe(request: Promise<unknown>): void {
    const end = (): void => {
      this.currentProbe = null;
    };
    this.currentProbe = request.then(end, end);
  }

  /** Notes that a request is overdue: others are preferred until this authority answers. */
  late(): void {
    this.isLate = true;
    this.restsUntil = Math.max(this.restsUntil, performance.now() + this.rest(1));
  }

  /** Notes a good answer to a request that was sent at `begun`. One sent before the last failure ends no rest. */
  succeeded(begun: number): void {
    this.record.success(performance.now() - begun);
    this.isLate = false;
    if (begun < this.lastFailure) return;
    this.failures = this.weight = this.restsUntil = this.heldUntil = 0;
    this.lastError = null;
  }

  /**
   * Notes that a request failed that was sent at `begun`. With many timestamps at once, failures count as one if they
   * come closer together than the attempts of a single timestamp would.
   */
  failed(error: SignpipeError, begun: number): void {
    const now = performance.now();
    this.record.failure(error.code);
    this.lastError = error;
    const retryAfter = error instanceof HttpStatusError ? error.retryAfterMs : undefined;
    if (retryAfter !== undefined)
      this.heldUntil = Math.max(this.heldUntil, now + Math.min(retryAfter, MAX_RETRY_AFTER));
    if (begun < this.lastFailure) return;
    if (begun >= this.lastFailure + this.shortestPause) {
      this.lastFailure = now;
      this.failures += 1;
      this.weight += error.code === 'timestamp-timeout' ? Math.ceil(this.limits.threshold / 2) : 1;
    }
    this.restsUntil = now + this.rest(this.failures);
  }

  private get shortestPause(): number {
    return this.failures === 0 ? 0 : this.limits.backOffMs * 2 ** (this.failures - 1) * SHORTEST_BACK_OFF;
  }

  /** With its circuit open, it rests as long as it may: a trial does not wait for that. */
  private rest(failures: number): number {
    if (this.isOpen) return this.limits.restMs;
    return Math.min(this.limits.restMs, FIRST_REST * 2 ** (failures - 1));
  }
}
