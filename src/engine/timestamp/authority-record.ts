/** How many latencies the median is taken over. */
const MEASURED = 15;

/** The state of an authority's circuit breaker: requests go through, none do, or a single one may try. */
export type CircuitState = 'closed' | 'open' | 'half-open';

/** What is known of an authority since this process began to ask it. */
export interface AuthorityHealth {
  /** Without user and password. */
  readonly url: string;
  readonly circuit: CircuitState;
  /** Good tokens, and requests that gave none. */
  readonly succeeded: number;
  readonly failed: number;
  readonly lastSuccess: Date | null;
  readonly lastFailure: { readonly at: Date; readonly code: string } | null;
  /** Of the last good answers, in ms. */
  readonly medianMs: number | null;
}

/** Counts and times of one authority's answers. */
export class AuthorityRecord {
  private succeeded = 0;
  private failed = 0;
  private lastSuccess: Date | null = null;
  private lastFailure: AuthorityHealth['lastFailure'] = null;
  private latencies: number[] = [];

  /** Changes with every answer. */
  get answers(): number {
    return this.succeeded + this.failed;
  }

  get medianMs(): number | null {
    const sorted = this.latencies.toSorted((a, b) => a - b);
    return sorted[sorted.length >> 1] ?? null;
  }

  success(latencyMs: number): void {
    this.succeeded += 1;
    this.lastSuccess = new Date();
    this.latencies = [...this.latencies, Math.round(latencyMs)].slice(-MEASURED);
  }

  failure(code: string): void {
    this.failed += 1;
    this.lastFailure = { at: new Date(), code };
  }

  health(url: string, circuit: CircuitState): AuthorityHealth {
    const { succeeded, failed, lastSuccess, lastFailure, medianMs } = this;
    return { url, circuit, succeeded, failed, lastSuccess, lastFailure, medianMs };
  }
}
