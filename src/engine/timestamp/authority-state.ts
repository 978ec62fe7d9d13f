import type { SignpipeError } from '../../lib/errors.ts';
import type { TimestampEndpoint } from './endpoint.ts';
import { HttpStatusError } from './http.ts';

/** The longest Retry-After that is obeyed, in ms: it is not signed, and anyone on the network can send one. */
const MAX_RETRY_AFTER = 600_000;

/** How one authority has behaved. All times are milliseconds of the monotonic clock. */
export class AuthorityState {
  /** Until then no request is sent: its Retry-After asked for that. */
  private heldUntil = 0;
  /** Until then other authorities are preferred, because this one failed. */
  private restsUntil = 0;
  private lastFailure = 0;

  constructor(readonly endpoint: TimestampEndpoint) {}

  /** The sort key: 0 for authorities without a recent failure, else the time at which the hold or the rest ends. */
  rank(now: number): number {
    const until = Math.max(this.heldUntil, this.restsUntil);
    return until > now ? until : 0;
  }

  /** How long no request may be sent yet. */
  wait(now: number): number {
    return Math.max(0, this.heldUntil - now);
  }

  succeeded(): void {
    this.restsUntil = 0;
    this.heldUntil = 0;
  }

  /** Notes that a request failed that was sent at `begun`. One sent before the last failure adds no rest. */
  failed(error: SignpipeError, begun: number, restMs: number): void {
    const now = performance.now();
    const retryAfter = error instanceof HttpStatusError ? error.retryAfterMs : undefined;
    if (retryAfter !== undefined)
      this.heldUntil = Math.max(this.heldUntil, now + Math.min(retryAfter, MAX_RETRY_AFTER));
    if (begun < this.lastFailure) return;
    this.lastFailure = now;
    this.restsUntil = now + restMs;
  }
}
