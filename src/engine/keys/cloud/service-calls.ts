import { withDeadline } from '../../../lib/concurrency/deadline.ts';
import { SignpipeError } from '../../../lib/errors.ts';
import { retrySigning } from '../retry-signing.ts';
import { keyClosed } from '../signing-key.ts';
import { serviceError, type ServiceProblem } from './service-errors.ts';

/** How the calls of a service are made. */
export interface ServiceCallOptions {
  /** Names the key in messages. */
  readonly what: string;
  /** How long one attempt may take, in milliseconds. */
  readonly timeoutMs: number;
  /** Says what an error of the service's SDK means. */
  readonly explain: (error: unknown) => ServiceProblem;
}

/** Calls of a service for one key: each with a deadline, repeated while the service is unavailable, ended by `close`. */
export class ServiceCalls {
  private readonly closing = new AbortController();
  private readonly inFlight = new Set<AbortController>();

  constructor(private readonly options: ServiceCallOptions) {}

  /**
   * Makes a call. `work` gets a signal that ends it; if it goes on, its result is ignored. Throws what `serviceError` makes,
   * and `key-closed` after `close`.
   */
  async run<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    return retrySigning(() => this.once(work), { signal: this.closing.signal });
  }

  /** Makes a call without repeating it; see `run`. */
  async once<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { what, timeoutMs, explain } = this.options;
    const late = serviceError(what, { problem: 'timeout', said: `within ${timeoutMs / 1000} s` });
    const controller = new AbortController();
    this.inFlight.add(controller);
    try {
      return await withDeadline(work(controller.signal), timeoutMs, () => {
        controller.abort(late);
        throw late;
      });
    } catch (error) {
      this.closing.signal.throwIfAborted();
      throw error instanceof SignpipeError ? error : serviceError(what, explain(error));
    } finally {
      this.inFlight.delete(controller);
    }
  }

  /** Ends all calls. */
  close(): void {
    this.closing.abort(keyClosed());
    for (const controller of this.inFlight) controller.abort(keyClosed());
  }
}
