import { unavailable } from '../../lib/errors.ts';
import type { CourierQuery } from '../../protocol/courier/batch-content.ts';

/** A query that waits for its answer, for a limited time. */
export class PendingQuery implements CourierQuery {
  readonly url: string;
  readonly query: Buffer;
  readonly answer: Promise<Buffer>;
  /** When its time is over, in ms since 1970. */
  readonly deadline: number;
  private settle: { resolve: (answer: Buffer) => void; reject: (error: unknown) => void } | null = null;
  private trouble = '';

  constructor({ url, query }: CourierQuery, timeoutMs: number, abort: AbortSignal | undefined) {
    this.url = url;
    this.query = query;
    this.deadline = Date.now() + timeoutMs;
    this.answer = new Promise<Buffer>((resolve, reject) => (this.settle = { resolve, reject }));
    const timer = setTimeout(() => this.fail(this.late(timeoutMs)), timeoutMs);
    const onAbort = (): void => this.fail(abort?.reason);
    if (abort?.aborted) onAbort();
    abort?.addEventListener('abort', onAbort, { once: true });
    const end = (): void => {
      clearTimeout(timer);
      abort?.removeEventListener('abort', onAbort);
    };
    this.answer.then(end, end);
  }

  /** Whether it still waits. */
  get isOpen(): boolean {
    return this.settle !== null;
  }

  succeed(answer: Buffer): void {
    this.settle?.resolve(answer);
    this.settle = null;
  }

  fail(error: unknown): void {
    this.settle?.reject(error);
    this.settle = null;
  }

  /** Notes what keeps the answer away, for the message if its time is over. */
  note(trouble: string): void {
    this.trouble = `; ${trouble}`;
  }

  private late(timeoutMs: number): Error {
    return unavailable(
      'timestamp-timeout',
      `${this.url}: no answer by a courier within ${timeoutMs / 1000} s${this.trouble}`,
      { hint: 'is `signpipe courier` running, and does it know this authority?' },
    );
  }
}
