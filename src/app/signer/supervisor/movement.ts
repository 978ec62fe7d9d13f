import type { ProgressBar, ProgressDisplay } from '../../../lib/progress.ts';

/** When a signer last did something, and what it is doing: from this the watchdog sees that it does not get on. */
export class Movement {
  private last: number;
  /** The work in hand, such as `fetch product.zip`, the innermost last. */
  private readonly stages: string[] = [];

  /** `now` is the monotonic clock, in ms; the real one unless given. */
  constructor(private readonly now: () => number = () => performance.now()) {
    this.last = now();
  }

  /** Something has been done: bytes moved, a program was signed, git reported progress, a poll ended. */
  readonly moved = (): void => {
    this.last = this.now();
  };

  /** How long nothing has been done, in ms by the monotonic clock. */
  get stillFor(): number {
    return this.now() - this.last;
  }

  /** What is being done. */
  get stage(): string {
    return this.stages.at(-1) ?? 'polling';
  }

  /** A progress display that counts as movement, and passes on to another. */
  watching(display: ProgressDisplay): ProgressDisplay {
    return {
      start: (label, unit) => {
        this.stages.push(label);
        this.moved();
        return this.watchedBar(display.start(label, unit), label);
      },
    };
  }

  private watchedBar(bar: ProgressBar, label: string): ProgressBar {
    let done = -1;
    return {
      update: (now, total) => {
        // The same number again, as after a connection that is cut again and again, is no progress.
        if (now !== done) this.moved();
        done = now;
        bar.update(now, total);
      },
      stop: () => {
        this.moved();
        const at = this.stages.lastIndexOf(label);
        if (at >= 0) this.stages.splice(at, 1);
        bar.stop();
      },
    };
  }
}
