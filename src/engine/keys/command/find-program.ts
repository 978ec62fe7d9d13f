import { constants } from 'node:fs';
import { access, lstat, realpath, stat } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { hasCode, usage } from '../../../lib/errors.ts';
import { printable } from '../../../lib/printable.ts';

/** Where a program may lie: at its path if it has a slash, else in the folders of PATH, of which relative ones do not count. */
function candidates(program: string, path: string): string[] {
  if (/[/\\]/.test(program)) return [resolve(program)];
  return path
    .split(delimiter)
    .filter((folder) => isAbsolute(folder))
    .map((folder) => join(folder, program));
}

/** Why a file is no program; undefined if it is one. */
async function whyNoProgram(file: string): Promise<string | undefined> {
  try {
    if ((await stat(file)).isDirectory()) return 'is a folder';
    await access(file, constants.X_OK);
    return undefined;
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR')) return 'there is no such file';
    return 'is not executable by this user';
  }
}

/** Options of a command line: one could hold a secret, which no message shows. */
const OPTIONS = /\s-.*$/s;

/** The part that a shell would have read in another way, as the end of a message. */
function shellSyntax(program: string): string | undefined {
  const odd = /^~|\$/.exec(program)?.[0];
  if (odd !== undefined) return `; no shell replaces the ${odd}`;
  if (OPTIONS.test(program)) return '; what follows it would be part of its name';
  const [, rest] = /\s(\S.*)$/s.exec(program) ?? [];
  return rest === undefined
    ? undefined
    : `; ${JSON.stringify(printable(rest, 60))} would be part of its name`;
}

/** Bits of a mode by which users other than the owner may write. */
const BY_GROUP = 0o020;
const BY_ALL = 0o002;
const STICKY = 0o1000;

const withFoldersAbove = (path: string): string[] =>
  dirname(path) === path ? [path] : [path, ...withFoldersAbove(dirname(path))];

/** A program's file, the link to it if it has one, and the folders above both: each can be replaced by another. */
async function exchangeable(program: string): Promise<readonly string[]> {
  const targets = [program, await realpath(program), await realpath(dirname(program))];
  return [...new Set(targets.flatMap(withFoldersAbove))];
}

/** Who beside its owner may write a file or a folder. In a sticky folder, as in a link, only owners replace what is theirs. */
async function writersOf(path: string): Promise<'all' | 'some' | 'owner'> {
  const stats = await lstat(path);
  const { uid } = stats;
  const mode = stats.isSymbolicLink() || (stats.mode & STICKY) !== 0 ? 0 : stats.mode;
  if ((mode & BY_ALL) !== 0) return 'all';
  return (mode & BY_GROUP) !== 0 || (uid !== 0 && uid !== process.getuid?.()) ? 'some' : 'owner';
}

/** Refuses or reports a program that other users may replace: it would run as this user, with the key within reach. */
async function checkWriters(program: string, warn: (message: string) => void): Promise<void> {
  if (process.platform === 'win32') return;
  const shared: string[] = [];
  for (const path of await exchangeable(program)) {
    const writers = await writersOf(path);
    if (writers === 'all')
      throw usage(
        'key-command-writable',
        `${path}: every user of this machine may change it, and with it what signs`,
        {
          hint: `run: chmod go-w ${path}`,
        },
      );
    if (writers === 'some') shared.push(path);
  }
  if (shared.length > 0)
    warn(`${shared.join(', ')}: another user or its group may change the program that signs`);
}

/**
 * The absolute path of a program. Throws usage errors: `key-command-missing` if it is not there or not executable,
 * `key-command-writable` if every user may change it or a folder above it.
 */
export async function findProgram(program: string, warn: (message: string) => void): Promise<string> {
  let problem = 'is in no folder of PATH';
  for (const file of candidates(program, process.env['PATH'] ?? '')) {
    const why = await whyNoProgram(file);
    if (why === undefined) {
      await checkWriters(file, warn);
      return file;
    }
    if (/[/\\]/.test(program)) problem = why;
  }
  throw usage(
    'key-command-missing',
    `${program.replace(OPTIONS, ' …')}: ${problem}${shellSyntax(program) ?? ''}`,
    {
      hint: 'check the path, and that the file is executable (chmod +x); arguments go into a script, or into signing.command of signer.yaml',
    },
  );
}
