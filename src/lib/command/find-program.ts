import { constants } from 'node:fs';
import { access, lstat, realpath, stat } from 'node:fs/promises';
import { delimiter, dirname, isAbsolute, join, resolve } from 'node:path';
import { hasCode } from '../errors.ts';

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

/** The absolute path of a program, or why it cannot be run. */
export async function findProgram(
  program: string,
): Promise<{ readonly file: string } | { readonly problem: string }> {
  let problem = 'is in no folder of PATH';
  for (const file of candidates(program, process.env['PATH'] ?? '')) {
    const why = await whyNoProgram(file);
    if (why === undefined) return { file };
    if (/[/\\]/.test(program)) problem = why;
  }
  return { problem };
}

/** Bits of a mode by which users other than the owner may write. */
const BY_GROUP = 0o020;
const BY_ALL = 0o002;
const STICKY = 0o1000;

const withFoldersAbove = (path: string): string[] =>
  dirname(path) === path ? [path] : [path, ...withFoldersAbove(dirname(path))];

/** A program's file, the link to it if it has one, and the folders above both: each can be replaced by another. */
async function replaceable(program: string): Promise<readonly string[]> {
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

/** Files and folders through which other users may replace a program. */
export interface ProgramWriters {
  /** What every user may write. */
  readonly all: readonly string[];
  /** What another user, or the members of a group, may write. */
  readonly some: readonly string[];
}

/** Who may replace a program: it runs as this user, with the keys within reach. On Windows nothing is found. */
export async function programWriters(file: string): Promise<ProgramWriters> {
  if (process.platform === 'win32') return { all: [], some: [] };
  const paths = await replaceable(file);
  const writers = await Promise.all(paths.map(writersOf));
  const writableBy = (who: 'all' | 'some'): string[] => paths.filter((_, index) => writers[index] === who);
  return { all: writableBy('all'), some: writableBy('some') };
}
