import { CommanderError } from 'commander';
import { program } from './cli/command-line.ts';
import { typedWords } from './cli/define-command.ts';
import { reportError } from './cli/output/terminal.ts';
import { usage } from './lib/errors.ts';

/** Where the options of the command that was typed are listed. */
function helpHint(): string {
  const names = new Set(program.commands.map((command) => command.name()));
  const name = [...typedWords].find((word) => names.has(word)) ?? 'COMMAND';
  return `\`signpipe ${name} --help\` lists the options of ${name === 'COMMAND' ? 'a' : 'this'} command`;
}

/** The word after an option whose value may be left out is that value, also if it was meant as an argument. */
const FOLDER_FIRST = 'write the folder before --pkcs11: signpipe init signer DIR --pkcs11 [MODULE]';

/** Reports what commander refuses like any other mistake on the command line. */
function reportUsage({ code, message }: CommanderError): number {
  const error = usage('command-line', message.replace(/^error: /, '').replaceAll('\n', ' '), {
    hint: code === 'commander.missingArgument' && typedWords.has('--pkcs11') ? FOLDER_FIRST : helpHint(),
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
