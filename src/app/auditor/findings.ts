import { SignpipeError } from '../../lib/errors.ts';
import type { Problem } from './model.ts';

/** Collects what does not hold about one commit, so that one fault does not hide the next. */
export class Findings {
  readonly problems: Problem[] = [];

  constructor(private readonly commit: string) {}

  add(code: string, message: string): void {
    this.problems.push({ code, commit: this.commit, message });
  }

  /**
   * The result of `check`, or undefined and one more problem. Only what is wrong with the repository is one:
   * that git cannot be run, say, is thrown on.
   */
  async try<T>(check: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await check();
    } catch (error) {
      this.caught(error);
      return undefined;
    }
  }

  /** The same for what is judged at once. */
  check(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.caught(error);
    }
  }

  /** Takes an error that `check` of the history threw for a problem; others are thrown on. */
  caught(error: unknown): void {
    if (!isFault(error)) throw error;
    this.add(error.code, error.message);
  }
}

/** Whether an error speaks of what is in the repository, rather than of this machine. */
export const isFault = (error: unknown): error is SignpipeError =>
  error instanceof SignpipeError && ['invalid', 'not-allowed', 'alarm'].includes(error.kind);
