import { hasCode, SignpipeError } from '../errors.ts';
import { printableJson, printableLines } from '../printable.ts';

/** Flags that every command has. */
export interface CommonOptions {
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

function passOverClosed(error: Error): void {
  if (!hasCode(error, 'EPIPE')) throw error;
}

/** Where results go. Whoever reads them may have enough before their end, as `head` has: that is no fault. */
export function standardOutput(): NodeJS.WriteStream {
  const { stdout } = process;
  if (!stdout.listeners('error').includes(passOverClosed)) stdout.on('error', passOverClosed);
  return stdout;
}

/** Results go to standard output, all else to standard error, so that results can be piped. */
export const print = (text: string): void => {
  standardOutput().write(`${text}\n`);
};

/** Longer texts are cut: a message quotes what others wrote. */
const MOST_TEXT = 10_000;

/** Messages quote names and texts from outside: none of them may steer the terminal. */
const shown = (text: string): string => printableLines(text, MOST_TEXT);

/** One line a step, unless `-q`. */
export const sayUnlessQuiet =
  (options: CommonOptions): ((line: string) => void) =>
  (line) => {
    if (!options.quiet) process.stderr.write(`${shown(line)}\n`);
  };

function causes(error: unknown): string[] {
  const lines: string[] = [];
  for (
    let cause = error instanceof Error ? error.cause : undefined;
    cause instanceof Error && lines.length < 5;
    cause = cause.cause
  )
    lines.push(`  caused by: ${cause.message}`);
  return lines;
}

/**
 * Tells a person what went wrong and gives the exit status. Expected faults have no stack trace; a
 * bug has one, since somebody must mend it.
 */
export function reportError(error: unknown, options: CommonOptions & { readonly json?: boolean }): number {
  if (!(error instanceof SignpipeError)) {
    process.stderr.write(
      `signpipe: unexpected error (a bug; please report it)\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    );
    return 1;
  }
  if (options.json)
    print(
      printableJson(
        JSON.stringify({
          error: {
            code: error.code,
            kind: error.kind,
            message: error.message,
            hint: error.hint ?? null,
            retry: error.retryable,
          },
        }),
      ),
    );
  const lines = [`signpipe: ${error.message} [${error.code}]`];
  if (error.hint !== undefined) lines.push(`  ${error.hint}`);
  if (options.verbose) lines.push(...causes(error));
  process.stderr.write(`${lines.map(shown).join('\n')}\n`);
  return error.exitStatus;
}
