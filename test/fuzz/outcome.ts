import { SignpipeError } from '../../src/lib/errors.ts';

/** What a target did with one input, as text: inputs that do something new are kept and changed further. */
export class Outcome {
  private readonly steps: string[] = [];
  /** Whether the input is a signed file that verifies as intact. */
  intact = false;

  get text(): string {
    return this.steps.join(' ');
  }

  note(step: string): void {
    this.steps.push(step);
  }

  /** Takes a step, which may be refused as invalid; any other error is a crash, and is thrown. */
  async step<T>(name: string, take: () => T | Promise<T>): Promise<T | undefined> {
    try {
      const value = await take();
      this.steps.push(name);
      return value;
    } catch (error) {
      if (!(error instanceof SignpipeError) || error.kind !== 'invalid') throw error;
      this.steps.push(`${name}:${error.code}:${shapeOf(error.message)}`);
      return undefined;
    }
  }
}

/** A message without what differs from file to file: numbers, names in quotes, and what stands before the first colon. */
const shapeOf = (message: string): string =>
  message
    .slice(message.indexOf(':') + 1)
    .replace(/"[^"]*"|[0-9a-f]{8,}|\d+/g, '#')
    .slice(0, 60);
