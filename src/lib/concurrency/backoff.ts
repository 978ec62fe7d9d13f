interface BackoffOptions {
  /** The first pause, in ms; each further one is twice as long. */
  readonly first: number;
  /** The longest pause, in ms. */
  readonly longest: number;
  /** From 0 to 1; `Math.random` unless given. */
  readonly random?: () => number;
}

/**
 * The pauses between attempts that fail in a row: they double up to a limit. Each is shortened by chance, by up to a
 * half, so that the clients of a host that was down do not all return at the same moment.
 */
export class Backoff {
  private failures = 0;

  constructor(private readonly options: BackoffOptions) {}

  /** Counts a failure, and returns the pause until the next attempt, in ms. */
  next(): number {
    const { first, longest, random = Math.random } = this.options;
    const pause = Math.min(first * 2 ** Math.min(this.failures, 30), longest);
    this.failures += 1;
    return pause * (1 - random() / 2);
  }

  /** An attempt has succeeded. */
  reset(): void {
    this.failures = 0;
  }
}
