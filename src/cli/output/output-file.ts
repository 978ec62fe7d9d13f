import { access, constants, lstat, realpath, stat } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { hasCode, usage } from '../../lib/errors.ts';
import { temporaryBeside } from '../../lib/bytes/atomic-file.ts';
import { moveInto, replaceFile } from '../../lib/bytes/replace-file.ts';
import { asTemporary } from '../../lib/bytes/temp-files.ts';
import { fromSystemError } from '../../lib/system-error.ts';

/** A file that a command is to write, and what is there now. */
export interface OutputFile {
  /** As the user named it, for messages. */
  readonly name: string;
  /** Where it is written: for a change in place, what a link leads to. */
  readonly path: string;
  readonly how: 'create' | 'replace' | 'in-place';
}

async function requireFolder(name: string): Promise<void> {
  const folder = dirname(name);
  try {
    if (!(await stat(folder)).isDirectory())
      throw usage('output-folder-missing', `${name}: ${folder} is no folder`);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR'))
      throw usage('output-folder-missing', `${name}: the folder ${folder} is not there`, {
        hint: 'make it, or correct the path',
        cause: error,
      });
    throw fromSystemError(error, folder) ?? error;
  }
}

/**
 * A file that `--output` names. Throws usage errors before any work is done: `output-folder-missing`,
 * `permission-denied`, `output-not-a-file` for a link, folder, device or pipe, and `output-exists` for a file that is
 * there, unless `force` is given.
 */
export async function outputTo(name: string, force = false): Promise<OutputFile> {
  // A name that ends in a slash means a folder, and would otherwise be taken without it.
  if (name.endsWith('/') || name.endsWith(sep))
    throw usage('output-folder-missing', `${name}: this folder is not there`, { hint: 'make it first' });
  await requireFolder(name);
  const there = await lstat(name).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return null;
    throw fromSystemError(error, name) ?? error;
  });
  if (there === null) return { name, path: name, how: 'create' };
  if (!there.isFile())
    throw usage('output-not-a-file', `${name}: is a link, folder, device or pipe, and not a plain file`, {
      hint: 'name a plain file; to write through a link, name the file that it leads to',
    });
  if (force) return { name, path: name, how: 'replace' };
  throw usage('output-exists', `${name}: is there already`, {
    hint: 'give another name, or --force to replace it',
  });
}

/** A file that is to be changed in place; through a link, it is the file that the link leads to. */
export async function outputInPlace(name: string): Promise<OutputFile> {
  try {
    const path = await realpath(name);
    await requireFolder(path);
    if ((await stat(path)).isFile()) return { name, path, how: 'in-place' };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${name}: no such file`, { cause: error });
    throw fromSystemError(error, name) ?? error;
  }
  throw usage('not-a-file', `${name}: not a regular file`);
}

/** Throws `output-shared` (usage) if two inputs would be written to one file. */
export function requireDistinct(outputs: readonly OutputFile[]): void {
  const seen = new Set<string>();
  for (const { name, path } of outputs) {
    if (seen.has(resolve(path)))
      throw usage('output-shared', `${name}: two of the files would be written there`, {
        hint: 'sign them one by one, each with an --output of its own',
      });
    seen.add(resolve(path));
  }
}

export interface WriteOutputOptions {
  /** Whether `write` may still refuse after it has written all: the final name then appears only when it has ended. */
  readonly checked?: boolean;
}

/**
 * Has `write` make the file, whole or not at all, under the path that it is given, and puts it in its place. What the
 * operating system refuses becomes an ordinary error about this file.
 */
export async function writeOutputFile<T>(
  { name, path, how }: OutputFile,
  write: (path: string) => Promise<T>,
  { checked = false }: WriteOutputOptions = {},
): Promise<T> {
  try {
    if (how === 'create' && !checked) return await write(path);
    const draft = temporaryBeside(path);
    return await asTemporary(draft, async () => {
      const result = await write(draft);
      if (how === 'create') await moveInto(draft, path);
      else await replaceFile(draft, path, { keepLinks: how === 'in-place' });
      return result;
    });
  } catch (error) {
    throw fromSystemError(error, name) ?? error;
  }
}
