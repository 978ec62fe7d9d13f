import { withSubcommands, type CommandModel, type OptionModel, type ValueModel } from '../command-model.ts';

/** Text within single quotes of zsh. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Text in a specification of `_arguments`, which reads brackets, colons and backslashes. */
const escaped = (text: string): string => text.replace(/[\\[\]:]/g, (character) => `\\${character}`);

/** What completes a value, as the end of a specification. */
function action({ kind, words }: ValueModel): string {
  if (kind === 'words') return `(${words.join(' ')})`;
  if (kind === 'file') return '_files';
  return kind === 'folder' ? '_files -/' : ' ';
}

function optionSpecs({ short, long, description, value, optional }: OptionModel): string[] {
  const help = `[${escaped(description)}]`;
  const end = value === null ? '' : `${optional ? '::' : ':'}${escaped(value.name)}:${action(value)}`;
  // Any option may be given again: some are repeatable, and the program says so of the others.
  return (short === null ? [long] : [short, long]).map((flag) => quoted(`*${flag}${help}${end}`));
}

function argumentSpecs(command: CommandModel): string[] {
  if (command.commands.length > 0) return [quoted('1: :->command'), quoted('*:: :->arguments')];
  return command.arguments.map((argument, index) => {
    const position = argument.variadic ? '*' : String(index + 1);
    return quoted(`${position}:${argument.required ? '' : ':'}${escaped(argument.name)}:${action(argument)}`);
  });
}

const functionName = ({ path }: CommandModel): string => ['_signpipe', ...path].join('_');

/** The part of a command with commands below it: their names, then the function of the one that was typed. */
function dispatch(command: CommandModel): string {
  if (command.commands.length === 0) return '';
  const names = command.commands.map(({ path, summary }) =>
    quoted(`${path.at(-1) ?? ''}:${summary.replaceAll(':', '\\:')}`),
  );
  const branches = command.commands.map(
    (each) => `        ${each.path.at(-1) ?? ''}) ${functionName(each)} ;;`,
  );
  return `
  case $state in
    command)
      local -a names=(
        ${names.join('\n        ')}
      )
      _describe command names ;;
    arguments)
      case $words[1] in
${branches.join('\n')}
      esac ;;
  esac`;
}

function commandFunction(command: CommandModel): string {
  const specs = [...command.options.flatMap(optionSpecs), ...argumentSpecs(command)];
  const locals = command.commands.length > 0 ? '\n  local curcontext=$curcontext state line' : '';
  const flags = command.commands.length > 0 ? '-C ' : '';
  return `${functionName(command)}() {${locals}
  _arguments ${flags}\\
    ${specs.join(' \\\n    ')}${dispatch(command)}
}
`;
}

/** The completion script for zsh: a file `_signpipe` in a folder of `fpath`, or to be sourced. */
export function zshCompletion(program: CommandModel): string {
  const functions = withSubcommands(program).map(commandFunction).join('\n');
  return `#compdef signpipe
# Completion of signpipe for zsh, generated from its command line.

${functions}
if [ "$funcstack[1]" = _signpipe ]; then
  _signpipe "$@"
else
  compdef _signpipe signpipe
fi
`;
}
