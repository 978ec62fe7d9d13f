import { access, constants, lstat, realpath, stat } from 'node:fs/promises';
import { dirname, resolve, sep } from 'node:path';
import { hasCode, usage } from '../../lib/errors.ts';
import { sha256OfFile } from '../../lib/bytes/hash.ts';
import { temporaryBeside } from '../../lib/bytes/atomic-file.ts';
import { moveInto, replaceFile } from '../../lib/bytes/replace-file.ts';
import { asTemporary } from '../../lib/bytes/temp-files.ts';
import { fromSystemError } from '../../lib/system-error.ts';
import { printJson, type CommonOptions } from './terminal.ts';

/** Options of a command that writes one file. */
export interface OutputOptions extends CommonOptions {
  readonly output: string;
  readonly force?: boolean;
  readonly json?: boolean;
}

/** A file that a command will write, and how that affects what is there now. */
export interface OutputFile {
  /** As the user wrote it, for messages. */
  readonly name: string;
  /** Where it is written: for a change in place, the target of a link. */
  readonly path: string;
  readonly how: 'create' | 'replace' | 'in-place';
}

async function requireFolder(name: string): Promise<void> {
  const folder = dirname(name);
  try {
    if (!(await stat(folder)).isDirectory())
      throw usage('output-folder-missing', `${name}: ${folder} is not a folder`);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    if (hasCode(error, 'ENOENT') || hasCode(error, 'ENOTDIR'))
      throw usage('output-folder-missing', `${name}: the folder ${folder} does not exist`, {
        hint: 'create it, or correct the path',
        cause: error,
      });
    throw fromSystemError(error, folder) ?? error;
  }
}

/**
 * Checks a file that `--output` names. Throws usage errors before any work is done: `output-folder-missing`,
 * `permission-denied`, `output-not-a-file` for a link, folder, device or pipe, and `output-exists` for an existing
 * file, unless `force` is given.
 */
export async function outputTo(name: string, force = false): Promise<OutputFile> {
  // A name that ends in a slash means a folder; without this check the slash would be ignored.
  if (name.endsWith('/') || name.endsWith(sep))
    throw usage('output-folder-missing', `${name}: this folder does not exist`, { hint: 'create it first' });
  await requireFolder(name);
  const stats = await lstat(name).catch((error: unknown) => {
    if (hasCode(error, 'ENOENT')) return null;
    throw fromSystemError(error, name) ?? error;
  });
  if (stats === null) return { name, path: name, how: 'create' };
  if (!stats.isFile())
    throw usage('output-not-a-file', `${name}: is a link, folder, device or pipe, not a regular file`, {
      hint: 'name a regular file; to write through a link, name the file that it leads to',
    });
  if (force) return { name, path: name, how: 'replace' };
  throw usage('output-exists', `${name}: exists already`, {
    hint: 'give another name, or --force to replace it',
  });
}

/** Checks a file that is to be changed in place. Of a link, the file that it leads to is changed. */
export async function outputInPlace(name: string): Promise<OutputFile> {
  try {
    const path = await realpath(name);
    await requireFolder(path);
    if ((await stat(path)).isFile()) return { name, path, how: 'in-place' };
  } catch (error) {
    if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${name}: no such file`, { cause: error });
    throw fromSystemError(error, name) ?? error;
  }
  throw usage('not-a-file', `${name}: is not a regular file`);
}

/** Throws `output-shared` (usage) if two outputs are the same file. */
export function requireDistinct(outputs: readonly OutputFile[]): void {
  const seen = new Set<string>();
  for (const { name, path } of outputs) {
    if (seen.has(resolve(path)))
      throw usage('output-shared', `${name}: two of the files would be written there`, {
        hint: 'sign them one by one, each with its own --output',
      });
    seen.add(resolve(path));
  }
}

interface WriteOutputOptions {
  /** Whether `write` may still fail after it has written everything: the final name then appears only when it returns. */
  readonly checked?: boolean;
}

/**
 * Calls `write` with the path at which it creates the whole file or none, and then puts that file in its place. A
 * system error becomes an ordinary error about this file.
 */
export async function writeOutputFile<T>(
  { name, path, how }: OutputFile,
  write: (path: string) => Promise<T>,
  { checked = false }: WriteOutputOptions = {},
): Promise<T> {
  try {
    if (how === 'create' && !checked) return await write(path);
    const temporary = temporaryBeside(path);
    return await asTemporary(temporary, async () => {
      const result = await write(temporary);
      if (how === 'create') await moveInto(temporary, path);
      else await replaceFile(temporary, path, { keepLinks: how === 'in-place' });
      return result;
    });
  } catch (error) {
    throw fromSystemError(error, name) ?? error;
  }
}

/** Prints, as JSON, which file was made from which. */
export async function printFileAsJson(input: string, path: string): Promise<void> {
  const { size } = await stat(path);
  printJson({ input, path, size, sha256: await sha256OfFile(path) });
}
