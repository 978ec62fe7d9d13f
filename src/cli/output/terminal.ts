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

/** A reader may have enough before the end, as `head` has: that is no fault. A full disk is one. */
function onBrokenOutput(error: Error): void {
  if (hasCode(error, 'EPIPE')) return;
  removeTemporaries();
  process.exit(reportError(fromSystemError(error, 'standard output') ?? error, {}));
}

/** Where results go. */
export function standardOutput(): NodeJS.WriteStream {
  const { stdout } = process;
  if (!stdout.listeners('error').includes(onBrokenOutput)) stdout.on('error', onBrokenOutput);
  return stdout;
}

/** Results go to standard output, all else to standard error, so that results can be piped. */
export const print = (text: string): void => {
  standardOutput().write(`${text}\n`);
};

/** Longer texts are cut: a message quotes what others wrote. */
const MOST_TEXT = 10_000;

/**
 * Messages quote names and texts from outside: none of them may steer the terminal, nor begin a line, where it would
 * pass for a message of ours.
 */
const shown = (text: string): string => printableLines(text, MOST_TEXT).replaceAll('\n', '\n  | ');

/** A result as JSON, in which nothing hides. */
export const asPrintableJson = (value: unknown): string => printableJson(JSON.stringify(value));

export const printJson = (value: unknown): void => print(asPrintableJson(value));

/** Where signed files are downloaded to unless `--output` names another folder: apart from what was submitted. */
export const SIGNED_FILES = './signed';

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

const asJson = ({ code, kind, message, hint, retryable }: SignpipeError): string =>
  asPrintableJson({ error: { code, kind, message, hint: hint ?? null, retry: retryable } });

/** An error that was not foreseen: a bug, unless the operating system refused something. */
const unforeseen = (error: unknown): SignpipeError =>
  fromSystemError(error) ??
  new SignpipeError('local', 'internal-error', `unexpected error: ${messageOf(error)}`, {
    hint: 'this is a bug; please report it with the lines below',
    cause: error,
  });

/**
 * Reports what went wrong and gives the exit status: with `json` as one object on standard output, and always in
 * words on standard error. Only a bug is reported with a stack trace.
 */
export function reportError(error: unknown, options: CommonOptions & { readonly json?: boolean }): number {
  const known = error instanceof SignpipeError ? error : unforeseen(error);
  if (options.json) print(asJson(known));
  const paint = painter(wantsColour(process.stderr));
  const lines = [`${known.message} [${known.code}]`];
  if (known.hint !== undefined) lines.push(`  ${known.hint}`);
  if (options.verbose) lines.push(...causes(known));
  if (error !== known && known.code === 'internal-error') lines.push(stackOf(error));
  process.stderr.write(`${paint('signpipe:', 'bad')} ${lines.map(shown).join('\n')}\n`);
  return known.exitStatus;
}

const stackOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? '') : '');
