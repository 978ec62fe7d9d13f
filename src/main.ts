import { CommanderError } from 'commander';
import { program } from './cli/command-line.ts';
import { typedWords } from './cli/define-command.ts';
import { reportError } from './cli/output/terminal.ts';
import { usage } from './lib/errors.ts';

/** Reports what commander refuses like any other mistake on the command line. */
function reportUsage({ message }: CommanderError): number {
  const error = usage('command-line', message.replace(/^error: /, '').replaceAll('\n', ' '), {
    hint: '`signpipe COMMAND --help` lists the options of a command',
  });
  return reportError(error, { json: typedWords.has('--json') });
}

async function main(): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Status 0: help or version was requested. Without a command, commander has printed the help already.
    if (error.exitCode === 0) process.exitCode = 0;
    else process.exitCode = error.code === 'commander.help' ? 2 : reportUsage(error);
  }
}

/** Settles when the command has ended. */
export const ended = main();
