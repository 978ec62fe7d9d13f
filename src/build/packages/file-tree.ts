import { chmod, mkdir, readdir, readFile, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** A file or a symbolic link of a package. */
export type TreeEntry =
  | { readonly content: string | Buffer; readonly executable?: boolean }
  | { readonly linkTo: string };

/** The files of a package, by path without a slash at the start. */
export type FileTree = Map<string, TreeEntry>;

/** As Debian packages documents: the best compression, without name and time. */
export const gzipped = (text: string): TreeEntry => ({ content: gzipSync(text, { level: 9 }) });

/** Adds the files of a folder, under `prefix`, that `wanted` accepts by their path in it. */
export async function addFolder(
  tree: FileTree,
  { from, prefix }: { readonly from: string; readonly prefix: string },
  wanted: (path: string) => boolean = () => true,
): Promise<void> {
  const entries = await readdir(from, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name).slice(from.length + 1);
    if (!entry.isFile() || !wanted(path)) continue;
    const content = await readFile(join(from, path));
    // npm gives all files one mode; what begins like a script is one.
    tree.set(join(prefix, path), { content, executable: content.subarray(0, 3).equals(Buffer.from('#!/')) });
  }
}

/** The same time everywhere, so that the same files make the same package. */
async function setTimes(folder: string, seconds: number): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  for (const entry of entries)
    if (!entry.isSymbolicLink()) await utimes(join(entry.parentPath, entry.name), seconds, seconds);
  await utimes(folder, seconds, seconds);
}

/** Writes a tree into a new folder. All modes are set, whatever the umask. */
export async function writeTree(tree: FileTree, folder: string, seconds: number): Promise<void> {
  for (const [path, entry] of tree) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    if ('linkTo' in entry) await symlink(entry.linkTo, file);
    else {
      await writeFile(file, entry.content);
      await chmod(file, entry.executable ? 0o755 : 0o644);
    }
  }
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await chmod(join(entry.parentPath, entry.name), 0o755);
  await chmod(folder, 0o755);
  await setTimes(folder, seconds);
}
