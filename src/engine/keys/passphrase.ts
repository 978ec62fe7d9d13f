import { readAll, withFile } from '../../lib/bytes/byte-source.ts';
import { messageOf, usage, type SignpipeError } from '../../lib/errors.ts';
import { textOf } from '../../lib/recognize-key-file.ts';
import { warnIfOthersCanRead } from './key-file.ts';

/** The environment variable that may hold the passphrase. */
const PASSPHRASE_VARIABLE = 'SIGNPIPE_PASSPHRASE';

/** In bytes. */
const MAX_FILE = 64 * 1024;
const MAX_PASSPHRASE = 1024;

interface PassphraseSources {
  /** A file whose first line is the passphrase. If given, no other source is used. */
  readonly file?: string | undefined;
  /** Called with a sentence, without the secret, if others can read the file. */
  readonly warn?: ((message: string) => void) | undefined;
  /** process.env unless given. */
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/** The first line of a text in UTF-8, or in UTF-16 with a byte order mark; undefined if it is not text. */
const firstLine = (bytes: Buffer): string | undefined => {
  const line = textOf(bytes)?.split(/\r\n?|\n/, 1)[0];
  return line?.includes('\0') ? undefined : line;
};

/**
 * Reads the first line of a file, without its line end; spaces belong to it. Throws `passphrase-file`, and what
 * opening the file throws. Calls `warn` if others can read the file; it is not refused, since container runtimes
 * mount secrets like that. `what` names the secret in messages.
 */
export async function readPassphraseFile(
  path: string,
  warn: (message: string) => void,
  what = 'passphrase',
): Promise<string> {
  const bytes = await withFile(path, (file) => {
    if (file.size <= MAX_FILE) return readAll(file, MAX_FILE);
    throw usage('passphrase-file', `${path}: ${file.size} bytes are too many for a ${what}`);
  });
  const line = firstLine(bytes);
  if (line === undefined)
    throw usage('passphrase-file', `${path}: the first line is neither UTF-8 nor UTF-16 text`, {
      hint: 'save the file as UTF-8',
    });
  if (line === '' || Buffer.byteLength(line) > MAX_PASSPHRASE)
    throw usage('passphrase-file', `${path}: the first line is empty or too long for a ${what}`, {
      hint: `put the ${what} into the first line of the file`,
    });
  await warnIfOthersCanRead(path, `the ${what}`, warn);
  return line;
}

/**
 * Asks for the passphrase of a file, or for another secret that `secret` names, without showing what is typed. Returns
 * undefined if standard input is not a terminal. Throws `passphrase-prompt`.
 */
export async function askPassphrase(what: string, secret = 'passphrase'): Promise<string | undefined> {
  if (!process.stdin.isTTY) return undefined;
  const { read } = await import('read');
  try {
    const prompt = `${secret.slice(0, 1).toUpperCase()}${secret.slice(1)} for ${what}: `;
    const typed = await read({ prompt, silent: true, output: process.stderr });
    return typed;
  } catch (error) {
    throw usage('passphrase-prompt', `no ${secret} was typed for ${what}: ${messageOf(error)}`);
  } finally {
    process.stderr.write('\n');
  }
}

/**
 * The passphrase from its file, else from SIGNPIPE_PASSPHRASE; undefined if neither is given. It is never taken from
 * the command line, which every user of the machine can see, and never logged.
 */
export async function findPassphrase(sources: PassphraseSources): Promise<string | undefined> {
  if (sources.file !== undefined) return readPassphraseFile(sources.file, sources.warn ?? (() => {}));
  return (sources.environment ?? process.env)[PASSPHRASE_VARIABLE];
}

/** The error for a file that needs a passphrase if none was given. */
export const passphraseMissing = (file: string): SignpipeError =>
  usage('key-passphrase-missing', `${file}: the private key is encrypted, and no passphrase was given`, {
    hint: 'give it in a file (--passphrase-file, or passphraseFile in the configuration), in SIGNPIPE_PASSPHRASE, or at the prompt',
  });

/** The hint for a passphrase that is wrong. */
export const WRONG_PASSPHRASE_HINT = 'check the passphrase file, SIGNPIPE_PASSPHRASE, or what was typed';
