import { SignpipeError } from '../../lib/errors.ts';
import type { Problem } from './model.ts';

/** Collects the problems of one commit, so that one fault does not hide the next. */
export class Findings {
  readonly problems: Problem[] = [];

  constructor(private readonly commit: string) {}

  add(code: string, message: string): void {
    this.problems.push({ code, commit: this.commit, message });
  }

  /**
   * The result of `check`; undefined if it throws, and one more problem. Errors that do not concern the content of the
   * repository, such as a failure to run git, are rethrown.
   */
  async try<T>(check: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await check();
    } catch (error) {
      this.addError(error);
      return undefined;
    }
  }

  /** Runs a synchronous check; an error that it throws becomes a problem, as with `try`. */
  check(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.addError(error);
    }
  }

  private addError(error: unknown): void {
    if (!isFault(error)) throw error;
    this.add(error.code, error.message);
  }
}

/** Whether an error concerns the content of the repository, rather than this machine. */
export const isFault = (error: unknown): error is SignpipeError =>
  error instanceof SignpipeError && ['invalid', 'not-allowed', 'alarm'].includes(error.kind);
