import { withSubcommands, type CommandModel, type OptionModel, type ValueModel } from '../command-model.ts';

/** Text within single quotes of fish. */
const quoted = (text: string): string => `'${text.replace(/[\\']/g, (character) => `\\${character}`)}'`;

/** The arguments of `complete` for a value; without them, fish completes files. */
function valueFlags({ kind, words }: ValueModel): string {
  if (kind === 'words') return ` -x -a ${quoted(words.join(' '))}`;
  if (kind === 'file') return ' -r -F';
  return kind === 'folder' ? " -x -a '(__fish_complete_directories)'" : ' -x';
}

/** True if this command was typed; what has to be true of one with commands below it is that none of these was. */
function condition({ path, commands }: CommandModel): string {
  const names = commands.map((each) => each.path.at(-1) ?? '').join(' ');
  const typed = path.map((word) => `__fish_seen_subcommand_from ${word}`);
  if (path.length === 0) return '__fish_use_subcommand';
  return [...typed, ...(names === '' ? [] : [`not __fish_seen_subcommand_from ${names}`])].join('; and ');
}

function optionLine(when: string, { short, long, description, value, optional }: OptionModel): string {
  const names = `${short === null ? '' : ` -s ${short.slice(1)}`} -l ${long.slice(2)}`;
  const rest = value === null || optional ? '' : valueFlags(value);
  return `complete -c signpipe -n ${quoted(when)}${names} -d ${quoted(description)}${rest}`;
}

function argumentLines(when: string, { arguments: list }: CommandModel): string[] {
  return list.flatMap((argument) =>
    argument.kind === 'none'
      ? []
      : [
          `complete -c signpipe -n ${quoted(when)}${argument.kind === 'file' ? ' -F' : valueFlags(argument).replace(' -x', ' -f')}`,
        ],
  );
}

function commandLines(command: CommandModel): string[] {
  const when = condition(command);
  return [
    ...command.commands.map(
      ({ path, summary }) =>
        `complete -c signpipe -n ${quoted(when)} -f -a ${path.at(-1) ?? ''} -d ${quoted(summary)}`,
    ),
    ...command.options.map((option) => optionLine(when, option)),
    ...argumentLines(when, command),
  ];
}

/** The completion script for fish. */
export function fishCompletion(program: CommandModel): string {
  const lines = withSubcommands(program).flatMap(commandLines);
  return `# Completion of signpipe for fish, generated from its command line.\ncomplete -c signpipe -f\n${lines.join('\n')}\n`;
}
