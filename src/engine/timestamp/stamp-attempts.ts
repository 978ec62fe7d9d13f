import { messageOf, SignpipeError, unavailable } from '../../lib/errors.ts';
import { plural } from '../../lib/plural.ts';
import type { AuthorityState } from './authority-state.ts';
import { HttpStatusError } from './transport/http.ts';

/** One failed attempt. */
interface Failure {
  readonly why: string;
  readonly hint: string;
  /** Whether the same authority may give a good token later. */
  readonly transient: boolean;
}

/**
 * No authority returned a good token (`timestamp-unavailable`). `transient`: at least one of them may give one later: it
 * is down, asked to wait, or has no time to give. The others answered wrongly.
 */
export class TimestampUnavailable extends SignpipeError {
  constructor(
    { kind, code, message, hint }: SignpipeError,
    readonly transient: boolean,
  ) {
    super(kind, code, message, hint === undefined ? {} : { hint });
  }
}

/** Whether the same request may succeed at the same authority a moment later. */
function isRetryable(error: SignpipeError): boolean {
  if (error instanceof HttpStatusError) return error.status >= 500 || [408, 425, 429].includes(error.status);
  return error.kind === 'unavailable' || error.code === 'timestamp-status';
}

function hintFor({ code, kind, hint }: SignpipeError): string {
  if (hint !== undefined) return hint;
  if (code === 'timestamp-malformed')
    return 'the authority does not answer in DER, as RFC 3161 requires: report it to its operator, or name another';
  return kind === 'invalid' && code !== 'timestamp-status'
    ? 'the authority answers wrongly, or someone on the network answers in its place: name another'
    : 'check the network, or name more authorities';
}

/** The attempts to get one timestamp: how often each authority was asked, and how it failed. */
export class StampAttempts {
  private readonly counts = new Map<AuthorityState, number>();
  private readonly excluded = new Set<AuthorityState>();
  private readonly inFlight = new Set<AuthorityState>();
  private readonly failures = new Map<AuthorityState, Failure[]>();

  constructor(private readonly maxAttempts: number) {}

  /**
   * The authorities that were asked least often, without those that have not answered yet: none is asked again before all
   * others were.
   */
  candidates(authorities: readonly AuthorityState[]): { round: number; candidates: AuthorityState[] } {
    const usable = authorities.filter(
      (each) => !this.excluded.has(each) && !this.inFlight.has(each) && this.count(each) < this.maxAttempts,
    );
    const round = Math.min(...usable.map((each) => this.count(each)));
    return { round, candidates: usable.filter((each) => this.count(each) === round) };
  }

  begin(authority: AuthorityState): void {
    this.inFlight.add(authority);
    this.counts.set(authority, this.count(authority) + 1);
  }

  /** Notes a failed attempt. An authority that answered wrongly is not asked again. */
  failed(authority: AuthorityState, error: SignpipeError): void {
    this.inFlight.delete(authority);
    this.add(authority, this.failureOf(authority, error));
    if (!isRetryable(error)) this.excluded.add(authority);
  }

  /** Notes that an authority is left alone because it failed too often in a row. */
  notAsked(authority: AuthorityState): void {
    const { lastError } = authority;
    if (lastError && !this.failures.has(authority)) {
      const { why, ...others } = this.failureOf(authority, lastError);
      this.add(authority, { ...others, why: `left alone for a while after failing repeatedly: ${why}` });
    }
    this.excluded.add(authority);
  }

  /** Notes that an authority asks for a longer wait than one timestamp may take. */
  mustWait(authority: AuthorityState, ms: number): void {
    const why = `asks to wait another ${Math.ceil(ms / 1000)} s`;
    this.add(authority, { why, hint: 'wait, or name more authorities', transient: true });
    this.excluded.add(authority);
  }

  /** The error that lists every authority in the configured order, each different reason, and what to do about it. */
  outcome(authorities: readonly AuthorityState[]): TimestampUnavailable {
    const lines = authorities.map((authority) => {
      const failures = this.failures.get(authority) ?? [];
      const reasons = [...new Set(failures.map(({ why }) => why))].join(', then ');
      const hints = [...new Set(failures.map(({ hint }) => hint))].join(', or ');
      const { url } = authority.endpoint;
      return {
        message: `${url} (asked ${plural(this.count(authority), 'time')}): ${reasons}`,
        hint: `${authorities.length > 1 ? `${url}: ` : ''}${hints}`,
      };
    });
    const error = unavailable(
      'timestamp-unavailable',
      `no timestamp authority gave a good token: ${lines.map(({ message }) => message).join('; ')}`,
      { hint: lines.map(({ hint }) => hint).join('; ') },
    );
    const transient = [...this.failures.values()].flat().some((failure) => failure.transient);
    return new TimestampUnavailable(error, transient);
  }

  private failureOf({ endpoint }: AuthorityState, error: SignpipeError): Failure {
    return {
      why: `${messageOf(error).replace(`${endpoint.url}: `, '')} [${error.code}]`,
      hint: hintFor(error),
      // A web page comes from something between here and the authority, such as a proxy whose upstream is down.
      transient: isRetryable(error) || error.code === 'timestamp-content-type',
    };
  }

  private add(authority: AuthorityState, failure: Failure): void {
    this.failures.set(authority, [...(this.failures.get(authority) ?? []), failure]);
  }

  private count(authority: AuthorityState): number {
    return this.counts.get(authority) ?? 0;
  }
}
