import { access, readdir, readFile, realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { usage } from '../errors.ts';
import { printable } from '../printable.ts';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** Checks what git itself checks (setup.c, is_git_directory). */
async function isGitFolder(path: string): Promise<boolean> {
  const parts = await Promise.all(['HEAD', 'objects', 'refs'].map((name) => exists(join(path, name))));
  return parts.every(Boolean);
}

/** The folder that the file `.git` of a linked work tree or submodule points to; null if there is no such file. */
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

/** The Git folder that a user means by `folder`: a bare repository, or that of a work tree. Parent folders are not searched. */
export async function findGitFolder(folder: string): Promise<string> {
  const candidates = [folder, join(folder, '.git'), await linkedFolder(folder)];
  for (const path of candidates) if (path !== null && (await isGitFolder(path))) return realpath(path);
  throw usage('control-not-a-repository', `${printable(folder)}: there is no Git repository`, {
    hint: 'give the folder of the repository, or its URL',
  });
}

/** Whether reading a file could block for ever. Sockets cannot be opened: git's own fsmonitor keeps one there. */
async function couldBlock(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  return info !== null && (info.isFIFO() || info.isCharacterDevice() || info.isBlockDevice());
}

/** Folders that git does not read here and that may be large. */
const UNREAD = new Set(['hooks', 'logs', 'modules', 'worktrees', 'lfs']);

/** Refuses FIFOs and devices among the files that git reads: they could block it for ever. */
export async function requirePlainFiles(path: string): Promise<void> {
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const inside = join(path, entry.name);
    if (entry.isFile() || UNREAD.has(entry.name)) continue;
    if (entry.isDirectory()) await requirePlainFiles(inside);
    else if (await couldBlock(inside))
      throw usage('not-a-file', `${printable(inside)}: not a regular file`, {
        hint: 'make a new clone of the repository',
      });
  }
}

/**
 * Refuses a repository with missing objects or false parents: a shallow clone ends early, a partial clone leaves
 * contents on the host, and grafts replace the parents that the commits name.
 */
export async function requireWholeHistory(path: string): Promise<void> {
  const packs = await readdir(join(path, 'objects', 'pack')).catch(() => []);
  const promisor = packs.find((name) => name.endsWith('.promisor'));
  const cuts = ['shallow', 'info/grafts', ...(promisor === undefined ? [] : [`objects/pack/${promisor}`])];
  for (const name of cuts)
    if (await exists(join(path, name)))
      throw usage('control-history-cut', `${printable(path)}: its history is incomplete (${name})`, {
        hint: 'git fetch --unshallow or --refetch, or give the URL of the repository',
      });
}
