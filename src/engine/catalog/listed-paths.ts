import { readdir, stat } from 'node:fs/promises';
import { basename, join, relative, resolve, sep } from 'node:path';
import { hasCode, invalid, usage } from '../../lib/errors.ts';
import { fromSystemError } from '../../lib/system-error.ts';
import { printable } from '../../lib/printable.ts';

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
 * catalog itself. Throws `file-not-found`, or `catalog-too-many-files`.
 */
export async function findFiles(inputs: readonly string[], except: string): Promise<FoundFile[]> {
  const found: FoundFile[] = [];
  for (const input of inputs) found.push(...(await filesIn(input)));
  if (found.length > MAX_FILES)
    throw invalid(
      'catalog-too-many-files',
      `${found.length} files, more than the ${MAX_FILES} of one catalog`,
      {
        hint: 'make several catalogs, each for some of the files',
      },
    );
  const others = found.filter(({ file }) => resolve(file) !== resolve(except));
  return others.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

async function filesIn(input: string): Promise<FoundFile[]> {
  try {
    const stats = await stat(input);
    if (!stats.isDirectory())
      return [{ file: input, path: windowsPath(basename(input)), special: !stats.isFile() }];
    const entries = await readdir(input, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => {
        const file = join(entry.parentPath, entry.name);
        return { file, path: windowsPath(relative(input, file)), special: !entry.isFile() };
      });
  } catch (error) {
    if (hasCode(error, 'ENOENT'))
      throw usage('file-not-found', `${input}: no such file or folder`, { cause: error });
    throw fromSystemError(error, input) ?? error;
  }
}

/** With backslashes between folders. One within a name becomes a slash, so that it is not taken for the name of a folder. */
const windowsPath = (path: string): string =>
  path
    .split(sep)
    .map((name) => name.replaceAll('\\', '/'))
    .join('\\');

/** Characters that no file name on Windows has; the backslash separates folders. */
// eslint-disable-next-line no-control-regex -- these are what no name may have
const NOT_IN_NAMES = /[\0-\x1f<>:"/|?*]/;

/** Names are compared as Windows does: it ignores case. */
export const folded = (path: string): string => path.toLowerCase();

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
    if (NOT_IN_NAMES.test(path))
      throw invalid('catalog-path', `${printable(file)}: no file on Windows can have this name`);
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
