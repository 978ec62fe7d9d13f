import { hasCode, messageOf, SignpipeError } from '../../lib/errors.ts';
import { removeTemporaries } from '../../lib/bytes/temp-files.ts';
import { painter, wantsColour } from '../../lib/terminal-colors.ts';
import { printableJson, printableLines } from '../../lib/printable.ts';
import { fromSystemError } from '../../lib/system-error.ts';

/** Flags that every command has. */
export interface CommonOptions {
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** A reader that closes the pipe early, as `head` does, is not an error. A full disk is. */
function onBrokenOutput(error: Error): void {
  if (hasCode(error, 'EPIPE')) return;
  removeTemporaries();
  process.exit(reportError(fromSystemError(error, 'standard output') ?? error, {}));
}

/** The stream that results are written to. */
export function standardOutput(): NodeJS.WriteStream {
  const { stdout } = process;
  if (!stdout.listeners('error').includes(onBrokenOutput)) stdout.on('error', onBrokenOutput);
  return stdout;
}

/** Prints a result to standard output. All else goes to standard error, so that results can be piped. */
export const print = (text: string): void => {
  standardOutput().write(`${text}\n`);
};

/** Longer texts are cut off: messages quote text from outside. */
const MAX_TEXT = 10_000;

/**
 * A message, safe to print. Names and texts from outside that it quotes can neither control the terminal nor begin a
 * line and so pass for a message of signpipe.
 */
const safeText = (text: string): string => printableLines(text, MAX_TEXT).replaceAll('\n', '\n  | ');

/** A result as JSON, without invisible characters. */
export const asPrintableJson = (value: unknown): string => printableJson(JSON.stringify(value));

export const printJson = (value: unknown): void => print(asPrintableJson(value));

/** The folder for downloaded files unless `--output` names one: never the one that the unsigned files are in. */
export const SIGNED_FILES = './signed';

/** Prints a line about each step to standard error, unless `-q` is given. */
export const sayUnlessQuiet =
  (options: CommonOptions): ((line: string) => void) =>
  (line) => {
    if (!options.quiet) process.stderr.write(`${safeText(line)}\n`);
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

const asJson = ({ code, kind, message, hint, retryable }: SignpipeError): string =>
  asPrintableJson({ error: { code, kind, message, hint: hint ?? null, retry: retryable } });

/** Wraps an unexpected error: a bug, unless it comes from the operating system. */
const unexpected = (error: unknown): SignpipeError =>
  fromSystemError(error) ??
  new SignpipeError('local', 'internal-error', `unexpected error: ${messageOf(error)}`, {
    hint: 'this is a bug; please report it with the lines below',
    cause: error,
  });

/**
 * Reports an error as text on standard error, with `json` also as one object on standard output, and returns the exit
 * status. Only a bug is reported with a stack trace.
 */
export function reportError(error: unknown, options: CommonOptions & { readonly json?: boolean }): number {
  const signpipeError = error instanceof SignpipeError ? error : unexpected(error);
  if (options.json) print(asJson(signpipeError));
  const paint = painter(wantsColour(process.stderr));
  const lines = [`${signpipeError.message} [${signpipeError.code}]`];
  if (signpipeError.hint !== undefined) lines.push(`  ${signpipeError.hint}`);
  if (options.verbose) lines.push(...causes(signpipeError));
  if (error !== signpipeError && signpipeError.code === 'internal-error') lines.push(stackOf(error));
  process.stderr.write(`${paint('signpipe:', 'bad')} ${lines.map(safeText).join('\n')}\n`);
  return signpipeError.exitStatus;
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? '') : '');
