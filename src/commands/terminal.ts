import { SingleBar } from 'cli-progress';
import { SignpipeError } from '../errors.ts';
import { noProgress, type Bar, type Progress } from '../progress.ts';

/** Flags that every command has. */
export interface CommonOptions {
  readonly quiet?: boolean;
  readonly verbose?: boolean;
}

/** Results go to standard output, all else to standard error, so that results can be piped. */
export const print = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

/** One line a step, unless `-q`. */
export const sayUnlessQuiet =
  (options: CommonOptions): ((line: string) => void) =>
  (line) => {
    if (!options.quiet) process.stderr.write(`${line}\n`);
  };

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function startBar(label: string, unit: 'bytes' | 'files'): Bar {
  const show = unit === 'bytes' ? mebibytes : String;
  const bar = new SingleBar({
    format: `${label} {bar} {percentage}% {done} of {all}`,
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
    fps: 8,
  });
  let started = false;
  return {
    update: (done, total) => {
      const payload = { done: show(done), all: show(total) };
      if (!started) bar.start(Math.max(total, 1), done, payload);
      else bar.update(done, payload);
      bar.setTotal(Math.max(total, 1));
      started = true;
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}

/** Bars where a person watches; nothing where output goes to a file or a CI job's log. */
export const progressFor = (options: CommonOptions): Progress =>
  process.stderr.isTTY && !options.quiet ? { start: startBar } : noProgress;

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
      JSON.stringify({
        error: {
          code: error.code,
          kind: error.kind,
          message: error.message,
          hint: error.hint ?? null,
          retry: error.retryable,
        },
      }),
    );
  const lines = [`signpipe: ${error.message} [${error.code}]`];
  if (error.hint !== undefined) lines.push(`  ${error.hint}`);
  if (options.verbose) lines.push(...causes(error));
  process.stderr.write(`${lines.join('\n')}\n`);
  return error.exitStatus;
}
