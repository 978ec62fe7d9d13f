import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseDuration } from '../app/config/units.ts';
import { runStopTasks } from '../lib/at-stop.ts';
import { removeTemporaries } from '../lib/bytes/temp-files.ts';
import { reportError } from './output/terminal.ts';

/** For options that may be given several times: `--timestamp A --timestamp B`. */
export const repeatable = (value: string, before: string[] = []): string[] => [...before, value];

/** Parses a whole number from 1 to `most`. */
export const upTo =
  (most: number) =>
  (text: string): number => {
    const number = /^[1-9]\d{0,5}$/.test(text) ? Number(text) : 0;
    if (number >= 1 && number <= most) return number;
    throw new InvalidArgumentError(`write a number from 1 to ${most}.`);
  };

/** Parses a duration. */
function milliseconds(text: string): number {
  const duration = parseDuration(text);
  if (duration === undefined) throw new InvalidArgumentError('write 30s, 10m or 2h.');
  return duration;
}

/** Parses how often something is done: from a number of seconds to a day, since longer timers of Node end at once. */
const interval =
  (leastSeconds: number) =>
  (text: string): number => {
    const duration = milliseconds(text);
    if (duration >= leastSeconds * 1000 && duration <= 86_400_000) return duration;
    throw new InvalidArgumentError(`write ${leastSeconds}s to 1d.`);
  };

/** Ctrl-C, or the end of a cancelled job, ends a command at once and leaves nothing half-written behind. */
export function endWhenStopped(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.once(signal, () => {
      runStopTasks();
      removeTemporaries();
      process.kill(process.pid, signal);
    });
}

/** Runs a command's module, which is loaded only now, and turns what it throws into an exit status. */
export function run(
  load: () => Promise<(...args: never[]) => Promise<number>>,
  prepare: (options: object) => void | Promise<void> = endWhenStopped,
) {
  return async (...args: unknown[]): Promise<void> => {
    // commander passes the arguments, the options, and the command itself.
    const withoutCommand = args.slice(0, -1) as never[];
    await prepare(withoutCommand.at(-1) ?? {});
    try {
      process.exitCode = await (await load())(...withoutCommand);
    } catch (error) {
      process.exitCode = reportError(error, withoutCommand.at(-1) ?? {});
    }
  };
}

/** The words of the command line. */
export const typedWords = new Set(process.argv.slice(2));
const wantsHelp = typedWords.size === 0 || ['help', '-h', '--help'].some((word) => typedWords.has(word));

/**
 * Adds a command with the flags that all commands have. Only for speed: returns nothing if the command was not typed,
 * so that its options are not even created.
 */
export function addCommand(parent: Command, usage: string, summary: string): Command | undefined {
  const command = parent.command(usage).description(summary).exitOverride();
  if (!wantsHelp && !typedWords.has(command.name())) return undefined;
  return command.option('-q, --quiet', 'print less').option('-v, --verbose', 'print more');
}

export const config = (file: string): Option =>
  new Option('-c, --config <file>', `configuration, such as ${file} (required)`).makeOptionMandatory();
export const json = new Option('--json', 'print the result as JSON');
export const outputFile = (name: string): Option =>
  new Option(`-o, --output <${name}>`, 'output file').makeOptionMandatory();
export const requestsBranch = new Option('--requests <branch>', 'branch of requests').default('main');
export const receiptsBranch = new Option('--receipts <branch>', 'branch of receipts').default('signed');
export const receiptSigners = new Option(
  '--receipt-signers <file>',
  'who may sign receipts (default: the key that the receipt branch belongs to)',
);
export const folderIfWaiting = new Option(
  '--output <dir>',
  'folder for the signed files, with --wait (default: ./signed)',
);
export const timeout = new Option('--timeout <time>', 'how long to wait')
  .argParser(milliseconds)
  .default(30 * 60_000, '30m');
export const rewriteEvery = new Option(
  '--every <time>',
  'with --html: go on, and write the page again after each change',
).argParser(interval(10));
export const redrawEvery = new Option('--every <time>', 'on a terminal: how often it is read again')
  .argParser(interval(1))
  .default(2000, '2s');
export const force = new Option('--force', 'replace an existing output file');
export const allowTest = new Option(
  '--allow-test-certificate',
  'accept files that were signed with a test certificate',
);
