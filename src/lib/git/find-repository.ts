import { access, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { usage } from '../errors.ts';
import { printable } from '../printable.ts';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** What git itself looks for (setup.c, is_git_directory). */
async function isGitFolder(path: string): Promise<boolean> {
  const parts = await Promise.all(['HEAD', 'objects', 'refs'].map((name) => exists(join(path, name))));
  return parts.every(Boolean);
}

/** What the file `.git` of a linked work tree or submodule points to; null when there is no such file. */
async function linkedFolder(folder: string): Promise<string | null> {
  const path = join(folder, '.git');
  const info = await stat(path).catch(() => null);
  if (info === null || !info.isFile() || info.size > 4096) return null;
  const target = /^gitdir: (.+?)\n*$/.exec(await readFile(path, 'utf8'))?.[1];
  if (target === undefined) return null;
  const linked = resolve(folder, target);
  const common = await readFile(join(linked, 'commondir'), 'utf8').catch(() => '.');
  return resolve(linked, common.trim());
}

/** The Git folder that a person means by `folder`: a bare repository, or the one of a work tree. Folders above are not looked at. */
export async function findGitFolder(folder: string): Promise<string> {
  const candidates = [folder, join(folder, '.git'), await linkedFolder(folder)];
  for (const path of candidates) if (path !== null && (await isGitFolder(path))) return realpath(path);
  throw usage('control-not-a-repository', `${printable(folder)}: there is no Git repository`, {
    hint: 'give the folder of the control repository, or its URL',
  });
}

/** Whether reading from a name may never end. Sockets cannot be opened: git's own fsmonitor keeps one there. */
async function mayReadForEver(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  return info !== null && (info.isFIFO() || info.isCharacterDevice() || info.isBlockDevice());
}

/** What git does not read here, and may be large. */
const UNREAD = new Set(['hooks', 'logs', 'modules', 'worktrees', 'lfs']);

/** Refuses FIFOs and devices where git looks for files: it would read them for ever. */
export async function requirePlainFiles(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const inside = join(path, entry.name);
    if (entry.isFile() || UNREAD.has(entry.name)) continue;
    if (entry.isDirectory()) await requirePlainFiles(inside);
    else if (await mayReadForEver(inside))
      throw usage('not-a-file', `${printable(inside)}: not a regular file`, {
        hint: 'take a new clone of the control repository',
      });
  }
}

/**
 * Refuses a repository that lacks objects, or whose commits seem to have other parents than they have: a
 * shallow clone ends early, a partial one leaves contents on the host, and grafts are what git believes in
 * place of the commits.
 */
export async function requireWholeHistory(path: string): Promise<void> {
  const packs = await readdir(join(path, 'objects', 'pack')).catch(() => []);
  const promised = packs.find((name) => name.endsWith('.promisor'));
  const cuts = ['shallow', 'info/grafts', ...(promised === undefined ? [] : [`objects/pack/${promised}`])];
  for (const name of cuts)
    if (await exists(join(path, name)))
      throw usage('control-history-cut', `${printable(path)}: its history is not whole (${name})`, {
        hint: 'git fetch --unshallow or --refetch, or give the URL of the control repository',
      });
}
