import { isInvalid } from '../../lib/errors.ts';
import type { Finding } from '../formats/signable-file.ts';
import type { Check, CheckName } from './report.ts';

/** The outcome of a step that passed: a sentence for the report, and what later steps need. */
export interface StepResult<T> {
  readonly detail: string;
  readonly value: T;
}

/** The outcome of a step from which later steps need nothing. */
export const passed = (detail: string): StepResult<true> => ({ detail, value: true });

/** Runs named steps and collects their outcomes. A step that throws `invalid` fails; other errors are passed on. */
export class VerificationSteps {
  readonly checks: Check[] = [];

  get failed(): boolean {
    return this.checks.some(({ ok }) => ok === false);
  }

  /** Runs a step; undefined if it failed. */
  async run<T>(name: CheckName, step: () => StepResult<T> | Promise<StepResult<T>>): Promise<T | undefined> {
    try {
      const { detail, value } = await step();
      this.checks.push({ name, ok: true, detail });
      return value;
    } catch (error) {
      this.fail(name, error);
      return undefined;
    }
  }

  /** Runs a step that may find several faults, each of which fails it; `clean` reports that there are none. */
  survey(name: CheckName, clean: string, step: () => readonly Finding[]): void {
    try {
      const faults = step();
      if (faults.length === 0) this.checks.push({ name, ok: true, detail: clean });
      for (const { code, message } of faults) this.checks.push({ name, ok: false, code, detail: message });
    } catch (error) {
      this.fail(name, error);
    }
  }

  /** Records a step that cannot be taken. */
  skip(name: CheckName, why: string): void {
    this.checks.push({ name, ok: null, detail: why });
  }

  private fail(name: CheckName, error: unknown): void {
    if (!isInvalid(error)) throw error;
    const hint = error.hint === undefined ? '' : ` (${error.hint})`;
    this.checks.push({ name, ok: false, code: error.code, detail: `${error.message}${hint}` });
  }
}
