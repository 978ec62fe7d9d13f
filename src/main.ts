import { CommanderError } from 'commander';
import { program } from './cli/command-line.ts';
import { typedWords } from './cli/define-command.ts';
import { reportError } from './cli/output/terminal.ts';
import { usage } from './lib/errors.ts';

const HELP = '`signpipe COMMAND --help` lists the options of a command';
/** The word after an option whose value may be left out is that value, also if it was meant as an argument. */
const FOLDER_FIRST = 'write the folder before --pkcs11: signpipe init signer DIR --pkcs11 [MODULE]';

/** Reports what commander refuses like any other mistake on the command line. */
function reportUsage({ code, message }: CommanderError): number {
  const error = usage('command-line', message.replace(/^error: /, '').replaceAll('\n', ' '), {
    hint: code === 'commander.missingArgument' && typedWords.has('--pkcs11') ? FOLDER_FIRST : HELP,
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
