import type { ArgumentModel, CommandModel, OptionModel } from '../command-model.ts';
import { bold, entry, heading, italic, page, pageHead, paragraph, plain } from './roff.ts';

/** What the pages of all commands have in common. */
export interface ManualContext {
  readonly date: string;
  readonly version: string;
}

/** The name of a command's page: `signpipe-signature-attach`. */
export const pageName = ({ path }: CommandModel): string => ['signpipe', ...path].join('-');

const EXIT_STATUSES: readonly (readonly [status: string, meaning: string])[] = [
  ['0', 'done'],
  [
    '1',
    'failed: something is down, here or elsewhere; for watch --once also: requests wait; for doctor: a part does not work; for status: the signer does not run',
  ],
  ['2', 'wrong usage, configuration or key'],
  ['3', 'refused, broken, or an alarm; for verify and audit: a check failed'],
  ['4', 'the time given with --timeout is over'],
];

function argumentUsage({ name, required, variadic }: ArgumentModel): string {
  const word = `${italic(name)}${variadic ? ' ...' : ''}`;
  return required ? word : `[${word}]`;
}

/** Flags as in the help, names in italics: `-c, --config <file>`. */
const flags = (option: OptionModel): string =>
  option.flags
    .split(/(<[^<>]+>|\[[^[\]]+\])/)
    .map((part) => {
      if (part.startsWith('<')) return italic(part.slice(1, -1));
      return part.startsWith('[') ? `[${italic(part.slice(1, -1))}]` : bold(part);
    })
    .join('');

const reference = (name: string, section: number): string => `${bold(name)}(${section})`;

function seeAlso(command: CommandModel, program: CommandModel): string {
  const pages = command === program ? [] : [reference('signpipe', 1)];
  const others = [reference('signpipe.yaml', 5), reference('signpipe-errors', 7)];
  const below = command === program ? [] : command.commands.map((each) => reference(pageName(each), 1));
  return [...pages, ...below, ...others].join(',\n');
}

const commandEntry = (command: CommandModel): string =>
  entry(reference(pageName(command), 1), plain(command.summary));

function synopsis(command: CommandModel): string {
  const words = [bold(['signpipe', ...command.path].join(' '))];
  if (command.commands.length > 0) words.push(italic('command'), '...');
  const needed = command.options.filter(({ mandatory }) => mandatory).map(flags);
  return [...words, ...needed, '[options]', ...command.arguments.map(argumentUsage)].join(' ');
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

/** The manual page of a command, in section 1; `program` is the whole command line. */
export function commandPage(
  command: CommandModel,
  program: CommandModel,
  { date, version }: ManualContext,
): string {
  const name = pageName(command);
  const about =
    command === program
      ? 'Git-triggered Authenticode signing: a commit names a file, an offline signer signs it, a receipt proves it'
      : command.summary;
  return page([
    pageHead({ name, section: 1, date, version }),
    heading('Name'),
    `${plain(name)} \\- ${plain(about)}`,
    heading('Synopsis'),
    synopsis(command),
    heading('Description'),
    plain(sentence(about)),
    ...(command.commands.length > 0 ? [heading('Commands'), ...command.commands.map(commandEntry)] : []),
    heading('Options'),
    ...command.options.map((option) => entry(flags(option), plain(sentence(option.description)))),
    heading('Exit status'),
    ...EXIT_STATUSES.map(([status, meaning]) => entry(bold(status), plain(sentence(meaning)))),
    heading('Environment'),
    entry(bold('SIGNPIPE_PASSPHRASE'), plain('The passphrase of the signing key, if no file is named.')),
    entry(
      `${bold('NO_COLOR')}, ${bold('FORCE_COLOR')}`,
      plain('Set to 1: never colour the output, or always.'),
    ),
    heading('See also'),
    seeAlso(command, program),
    ...(command === program
      ? [paragraph('The documents in the package say more; docs/README.md lists them by task.')]
      : []),
  ]);
}
