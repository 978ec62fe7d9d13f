import { Semaphore } from '../../lib/concurrency/semaphore.ts';

/** The size of the window before anything is known about the authorities. */
const INITIAL_SIZE = 8;

/**
 * Limits the number of requests in flight, as TCP's congestion window does (RFC 5681): each success adds one, a
 * failure halves the window.
 */
export class RequestWindow {
  private readonly semaphore: Semaphore;
  private lastCut = 0;

  constructor(
    private readonly maxSize: number,
    initialSize = INITIAL_SIZE,
  ) {
    this.semaphore = new Semaphore(Math.min(initialSize, maxSize));
  }

  run<T>(request: () => Promise<T> | T): Promise<T> {
    return this.semaphore.run(request);
  }

  succeeded(): void {
    if (this.semaphore.limit < this.maxSize) this.semaphore.limit += 1;
  }

  /** Of requests that fail together only the first halves the window. `begun` is a time of the monotonic clock. */
  failed(begun: number): void {
    if (begun < this.lastCut) return;
    this.lastCut = performance.now();
    this.semaphore.limit = Math.max(1, this.semaphore.limit >> 1);
  }
}
