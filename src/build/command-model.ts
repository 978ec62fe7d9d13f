import type { Argument, Command, Option } from 'commander';
import { program } from '../cli/command-line.ts';
import { SITE_KINDS } from '../cli/commands/init.ts';

/** What an argument or the value of an option is, as far as completion can help with it. */
export type ValueKind = 'file' | 'folder' | 'words' | 'none';

export interface ValueModel {
  /** Its name, as in the help: `file`. */
  readonly name: string;
  readonly kind: ValueKind;
  /** The words that it can be, if `kind` is `words`. */
  readonly words: readonly string[];
}

export interface ArgumentModel extends ValueModel {
  readonly required: boolean;
  /** Whether several may be given. */
  readonly variadic: boolean;
}

export interface OptionModel {
  /** As in the help: `-c, --config <file>`. */
  readonly flags: string;
  readonly short: string | null;
  readonly long: string;
  readonly description: string;
  /** The value that it takes; null if it takes none. */
  readonly value: ValueModel | null;
  /** Whether the value may be left out. */
  readonly optional: boolean;
  readonly mandatory: boolean;
}

/** A command of the command line, from which completions and manual pages are made. */
export interface CommandModel {
  /** The words that call it, without `signpipe`: `signature attach`; empty for the program. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly arguments: readonly ArgumentModel[];
  readonly options: readonly OptionModel[];
  readonly commands: readonly CommandModel[];
}

/** Names of values that are files or folders, in the help. */
const FILES = new Set(['file', 'files', 'zip', 'pem', 'p7', 'cat', 'out', 'path', 'module', 'jsonl', 'html']);
const FOLDERS = new Set(['dir', 'folder']);
/** Values that are paths, but may be something else too. */
const FILES_BY_FLAG = new Set(['--key', '--repo']);

function kindOf(name: string, flag: string): ValueKind {
  if (FILES.has(name) || FILES_BY_FLAG.has(flag)) return 'file';
  return FOLDERS.has(name) ? 'folder' : 'none';
}

function valueModel(name: string, flag: string, choices: readonly string[] | undefined): ValueModel {
  return choices ? { name, kind: 'words', words: choices } : { name, kind: kindOf(name, flag), words: [] };
}

/** Arguments whose words the command itself checks, with errors of its own, by the argument's name. */
const KNOWN_WORDS: ReadonlyMap<string, readonly string[]> = new Map([['what', SITE_KINDS]]);

const argumentModel = (argument: Argument): ArgumentModel => ({
  ...valueModel(argument.name(), '', argument.argChoices ?? KNOWN_WORDS.get(argument.name())),
  required: argument.required,
  variadic: argument.variadic,
});

/** The name of an option's value: `file` of `--config <file>`. */
const valueName = (flags: string): string => /[<[]([^<>[\]]+)[>\]]/.exec(flags)?.[1] ?? '';

function describeOption({ description, argChoices, defaultValue, defaultValueDescription }: Option): string {
  const notes = [
    argChoices ? `choices: ${argChoices.join(', ')}` : null,
    defaultValue === undefined || typeof defaultValue === 'boolean'
      ? null
      : `default: ${defaultValueDescription ?? String(defaultValue)}`,
  ].filter((note) => note !== null);
  return notes.length === 0 ? description : `${description} (${notes.join('; ')})`;
}

function optionModel(option: Option): OptionModel {
  const { flags, short, long, required, optional, mandatory, argChoices } = option;
  return {
    flags,
    short: short ?? null,
    long: long ?? '',
    description: describeOption(option),
    value: required || optional ? valueModel(valueName(flags), long ?? '', argChoices) : null,
    optional,
    mandatory,
  };
}

function commandModel(command: Command, path: readonly string[]): CommandModel {
  const help = command.createHelp();
  const commands = help
    .visibleCommands(command)
    .filter((each) => each.name() !== 'help')
    .map((each) => commandModel(each, [...path, each.name()]));
  return {
    path,
    summary: command.description(),
    arguments: command.registeredArguments.map(argumentModel),
    options: help.visibleOptions(command).map(optionModel),
    commands,
  };
}

/**
 * The whole command line. Only for a process without words on its own command line: otherwise the options of commands that
 * were not typed are never created (`addCommand`).
 */
export const commandLineModel = (): CommandModel => commandModel(program, []);

/** A command and all below it, in the order of the help. */
export const withSubcommands = (command: CommandModel): CommandModel[] => [
  command,
  ...command.commands.flatMap(withSubcommands),
];
