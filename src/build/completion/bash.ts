import { withSubcommands, type CommandModel, type OptionModel, type ValueModel } from '../command-model.ts';

/** The commands of bash that fill COMPREPLY for a value. */
function completeValue({ kind, words }: ValueModel): string {
  if (kind === 'words') return `COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$cur"))`;
  if (kind === 'file') return `_signpipe_paths -f`;
  return kind === 'folder' ? `_signpipe_paths -d` : `COMPREPLY=()`;
}

const flagsOf = ({ short, long }: OptionModel): string[] => (short === null ? [long] : [short, long]);

/** The branches for the value of an option: `prev` is the option. */
function optionCases(command: CommandModel): string[] {
  return command.options.flatMap((option) =>
    option.value === null || option.optional
      ? []
      : [
          `      '${command.path.join(' ')}:'${flagsOf(option).join(`|'${command.path.join(' ')}:'`)}) ${completeValue(option.value)}; return ;;`,
        ],
  );
}

/** The branch for a word of a command that is no option and no option's value; `$count` is how many precede it. */
function argumentCase(command: CommandModel): string[] {
  const { arguments: list, commands } = command;
  if (commands.length > 0)
    return [
      `      '${command.path.join(' ')}:'0) COMPREPLY=($(compgen -W '${commands.map(({ path }) => path.at(-1)).join(' ')}' -- "$cur")) ;;`,
    ];
  return list.map((argument, index) => {
    const pattern = argument.variadic ? '*' : String(index);
    return `      '${command.path.join(' ')}:'${pattern}) ${completeValue(argument)} ;;`;
  });
}

const flagsCase = (command: CommandModel): string =>
  `      '${command.path.join(' ')}') COMPREPLY=($(compgen -W '${command.options.flatMap(flagsOf).join(' ')}' -- "$cur")) ;;`;

/** Words that lead from a command to one below it, as bash's case patterns. */
const descents = (commands: readonly CommandModel[]): string[] =>
  commands
    .filter(({ path }) => path.length > 0)
    .map(({ path }) => `'${path.slice(0, -1).join(' ')}:${path.at(-1) ?? ''}'`);

/** Options that take the next word, by command, as case patterns. */
const takers = (commands: readonly CommandModel[]): string[] =>
  commands.flatMap(({ path, options }) =>
    options
      .filter(({ value, optional }) => value !== null && !optional)
      .flatMap((option) => flagsOf(option).map((flag) => `'${path.join(' ')}:${flag}'`)),
  );

/** The completion script for bash; it needs nothing but bash. */
export function bashCompletion(program: CommandModel): string {
  const commands = withSubcommands(program);
  return `# Completion of signpipe for bash, generated from its command line.

# The paths that the current word can become: files and folders (-f), or folders only (-d).
_signpipe_paths() {
  compopt -o filenames 2>/dev/null
  mapfile -t COMPREPLY < <(compgen "$1" -- "$cur")
}

_signpipe() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command='' count=0 index word
  COMPREPLY=()
  # The command so far, and how many of its arguments precede the current word.
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=\${COMP_WORDS[index]}
    case "$command:$word" in
      ${descents(commands).join('|')}) command="\${command:+$command }$word"; count=0 ;;
      ${takers(commands).join('|')}) index=$((index + 1)) ;;
      *:-*) ;;
      *) count=$((count + 1)) ;;
    esac
  done
  # The value of the option before the cursor.
  case "$command:$prev" in
${commands.flatMap(optionCases).join('\n')}
  esac
  if [[ $cur == -* ]]; then
    case "$command" in
${commands.map(flagsCase).join('\n')}
    esac
  else
    case "$command:$count" in
${commands.flatMap(argumentCase).join('\n')}
    esac
  fi
}

complete -F _signpipe signpipe
`;
}
