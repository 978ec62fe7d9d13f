import { readAll, withFile } from '../../lib/bytes/byte-source.ts';
import { messageOf, usage } from '../../lib/errors.ts';
import { textOf } from '../../lib/key-format.ts';
import { warnIfOpen } from './key-file.ts';

/** The environment variable that may hold the passphrase. */
export const PASSPHRASE_VARIABLE = 'SIGNPIPE_PASSPHRASE';

/** More than anyone types; a larger file is not a passphrase. */
const LARGEST_FILE = 64 * 1024;
const LONGEST_PASSPHRASE = 1024;

export interface PassphraseSources {
  /** A file whose first line it is. Comes before everything else. */
  readonly file?: string | undefined;
  /** Told, without the secret, what is unwise about where it was found. */
  readonly warn?: ((message: string) => void) | undefined;
  /** process.env unless given. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/** The first line of a text, which may be UTF-16 with a byte order mark; undefined if it is no text. */
const firstLine = (bytes: Buffer): string | undefined => {
  const line = textOf(bytes)?.split(/\r\n?|\n/, 1)[0];
  return line?.includes('\0') ? undefined : line;
};

/**
 * The first line of a file, without its line end; spaces belong to it. Throws `passphrase-file`, or
 * what opening throws. A file that others may read is warned about and not refused: containers
 * mount their secrets so.
 */
export async function readPassphraseFile(path: string, warn: (message: string) => void): Promise<string> {
  const bytes = await withFile(path, (file) => {
    if (file.size <= LARGEST_FILE) return readAll(file, LARGEST_FILE);
    throw usage('passphrase-file', `${path}: ${file.size} bytes are too many for a passphrase`);
  });
  const line = firstLine(bytes);
  if (line === undefined)
    throw usage('passphrase-file', `${path}: its first line is neither UTF-8 nor UTF-16 text`, {
      hint: 'save the file as UTF-8',
    });
  if (line === '' || Buffer.byteLength(line) > LONGEST_PASSPHRASE)
    throw usage('passphrase-file', `${path}: its first line is empty or too long for a passphrase`, {
      hint: 'The passphrase must be the first line of the file',
    });
  await warnIfOpen(path, 'the passphrase', warn);
  return line;
}

/**
 * Asks for the passphrase of what is named, showing nothing of what is typed; undefined where there is no terminal to
 * ask on. Throws `passphrase-prompt`.
 */
export async function askPassphrase(what: string): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined;
  const { read } = await import('read');
  try {
    const typed = await read({ prompt: `Passphrase for ${what}: `, silent: true, output: process.stderr });
    process.stderr.write('\n');
    return typed;
  } catch (error) {
    // The line with the prompt is still open.
    process.stderr.write('\n');
    throw usage('passphrase-prompt', `no passphrase was typed for ${what}: ${messageOf(error)}`);
  }
}

/**
 * The passphrase from its file, else from SIGNPIPE_PASSPHRASE; undefined when it is in neither. Never from the command
 * line, where every user of the machine would see it, and never logged.
 */
export async function findPassphrase(sources: PassphraseSources): Promise<string | undefined> {
  if (sources.file !== undefined) return readPassphraseFile(sources.file, sources.warn ?? (() => {}));
  return (sources.environment ?? process.env)[PASSPHRASE_VARIABLE];
}
