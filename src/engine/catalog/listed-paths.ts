import type { Stats } from 'node:fs';
import { opendir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, relative, sep } from 'node:path';
import { hasCode, invalid, usage } from '../../lib/errors.ts';
import { fromSystemError } from '../../lib/system-error.ts';
import { printable } from '../../lib/printable.ts';
import { faultOfPath, folded } from './windows-paths.ts';

/** A file on this machine, and the path that a catalog gives it: below its folder, with backslashes. */
export interface FoundFile {
  readonly file: string;
  readonly path: string;
  /** A link, device or the like, which is not read. */
  readonly special: boolean;
}

/** The most files of a catalog. */
const MAX_FILES = 100_000;

/**
 * The files that are named, and all below the folders that are, in the order of their paths; without `except`, which is the
 * catalog itself, however it is reached. Links are not followed below the folders. Throws `file-not-found`, or
 * `catalog-too-many-files`.
 */
export async function findFiles(
  inputs: readonly string[],
  except: string,
  most = MAX_FILES,
): Promise<FoundFile[]> {
  const catalog = await placeOf(except);
  const found: FoundFile[] = [];
  for (const input of inputs) {
    const place = await placeOf(input);
    for await (const each of filesIn(input)) {
      if (join(place, relative(input, each.file)) === catalog) continue;
      if (found.push(each) > most) throw tooMany(most);
    }
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

const tooMany = (most: number): Error =>
  invalid('catalog-too-many-files', `there are more than the ${most} files of one catalog`, {
    hint: 'make several catalogs, each for some of the files',
  });

/** Where a file or folder lies, or would lie, without links on the way. */
async function placeOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    // It does not exist yet. If its folder does not either, it is none of the files.
    return join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path));
  }
}

async function* filesIn(input: string): AsyncGenerator<FoundFile> {
  const stats = await statsOf(input);
  if (stats.isDirectory()) yield* filesBelow(input);
  else yield { file: input, path: windowsPath(basename(input)), special: !stats.isFile() };
}

/** Reads one folder after another, without holding the names of a whole folder. */
async function* filesBelow(top: string): AsyncGenerator<FoundFile> {
  const folders = [top];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop())
    try {
      for await (const entry of await opendir(folder)) {
        const file = join(folder, entry.name);
        if (entry.isDirectory()) folders.push(file);
        else yield { file, path: windowsPath(relative(top, file)), special: !entry.isFile() };
      }
    } catch (error) {
      throw fromSystemError(error, folder) ?? error;
    }
}

async function statsOf(path: string): Promise<Stats> {
  try {
    return await stat(path);
  } catch (error) {
    if (hasCode(error, 'ENOENT'))
      throw usage('file-not-found', `${path}: no such file or folder`, { cause: error });
    throw fromSystemError(error, path) ?? error;
  }
}

/** Throws `not-a-folder`, or `file-not-found`. */
export async function requireFolder(path: string): Promise<void> {
  if ((await statsOf(path)).isDirectory()) return;
  throw usage('not-a-folder', `${printable(path)}: not a folder`, {
    hint: 'name the folder that holds the files of the catalog',
  });
}

/** With backslashes between folders. One within a name becomes a slash, so that it is not taken for the name of a folder. */
const windowsPath = (path: string): string =>
  path
    .split(sep)
    .map((name) => name.replaceAll('\\', '/'))
    .join('\\');

/**
 * Requires paths that Windows can have, each once; throws `catalog-not-a-file`, `catalog-path` or `catalog-path-repeated`.
 */
export function requirePaths(files: readonly FoundFile[]): void {
  const seen = new Set<string>();
  for (const { file, path, special } of files) {
    if (special)
      throw invalid('catalog-not-a-file', `${file}: a link, pipe or device, which a catalog cannot list`, {
        hint: 'copy what it leads to into the folder, or remove it',
      });
    const why = faultOfPath(path);
    if (why !== null)
      throw invalid('catalog-path', `${printable(file)}: it ${why}`, {
        hint: 'rename the file, or leave it out: a catalog is for files on Windows',
      });
    if (seen.has(folded(path)))
      throw invalid(
        'catalog-path-repeated',
        `${printable(path)}: two files would have this path in the catalog`,
        {
          hint: 'Windows ignores case; of files that are named one by one, only the last part of the path counts',
        },
      );
    seen.add(folded(path));
  }
}
