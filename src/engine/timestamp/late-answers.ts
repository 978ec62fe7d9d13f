/**
 * Requests for one timestamp that were not answered in good time. They go on while other authorities are asked; the
 * first good answer, of whichever request, ends the others.
 */
export class LateAnswers<T> {
  /** Aborted when the timestamp is there, or cannot be had. */
  readonly signal: AbortSignal;
  /** The first good late answer; never settles if there is none. Rejects with an error that is no authority's. */
  readonly first: Promise<T>;
  private readonly pending = new Set<Promise<unknown>>();
  private readonly controller = new AbortController();
  private settle: { resolve: (answer: T) => void; reject: (error: unknown) => void } | undefined;

  constructor(outer: AbortSignal | undefined) {
    const { signal } = this.controller;
    this.signal = outer ? AbortSignal.any([signal, outer]) : signal;
    this.first = new Promise((resolve, reject) => (this.settle = { resolve, reject }));
  }

  /** Whether the timestamp is there, or cannot be had. */
  get isOver(): boolean {
    return this.controller.signal.aborted;
  }

  /** Adds a request; it resolves to undefined if it failed. */
  add(request: Promise<T | undefined>): void {
    const ended = request.then(
      (answer) => {
        this.pending.delete(ended);
        if (answer !== undefined) this.settle?.resolve(answer);
      },
      (error: unknown) => this.settle?.reject(error),
    );
    this.pending.add(ended);
  }

  /** Waits until one of the late requests has ended; false if there is none. */
  async next(): Promise<boolean> {
    if (this.pending.size === 0) return false;
    await Promise.race(this.pending);
    return true;
  }

  /** Aborts what is still in flight. */
  end(): void {
    this.controller.abort();
  }
}
