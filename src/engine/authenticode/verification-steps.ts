import { SignpipeError } from '../../lib/errors.ts';
import type { Check, CheckName } from './report.ts';
import type { Finding } from '../formats/signable-file.ts';

/** What a step found out: a sentence for the report, and what later steps need of it. */
export interface StepResult<T> {
  readonly detail: string;
  readonly value: T;
}

/** A sentence without anything to pass on. */
export const found = (detail: string): StepResult<true> => ({ detail, value: true });

/** Named steps and their outcomes. A step that throws `invalid` fails; any other error is not its to judge. */
export class Checklist {
  readonly checks: Check[] = [];

  get failed(): boolean {
    return this.checks.some(({ ok }) => ok === false);
  }

  /** Takes a step; undefined when it failed. */
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

  /** Takes a step that may find several faults, each of which fails it; `clean` says that there are none. */
  survey(name: CheckName, clean: string, step: () => readonly Finding[]): void {
    try {
      const faults = step();
      if (faults.length === 0) this.checks.push({ name, ok: true, detail: clean });
      for (const { code, message } of faults) this.checks.push({ name, ok: false, code, detail: message });
    } catch (error) {
      this.fail(name, error);
    }
  }

  /** Notes a step that cannot be asked. */
  skip(name: CheckName, why: string): void {
    this.checks.push({ name, ok: null, detail: why });
  }

  private fail(name: CheckName, error: unknown): void {
    if (!(error instanceof SignpipeError) || error.kind !== 'invalid') throw error;
    const hint = error.hint === undefined ? '' : ` (${error.hint})`;
    this.checks.push({ name, ok: false, code: error.code, detail: `${error.message}${hint}` });
  }
}
