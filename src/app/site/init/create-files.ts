import { lstat, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode, usage } from '../../../lib/errors.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';
import { generateSshKey } from '../../../lib/ssh/generate-key.ts';

/** A file, key pair or folder that `init` creates. */
export interface FileToCreate {
  readonly path: string;
  /** Creates it; the folder around it exists. */
  readonly create: () => Promise<unknown>;
  /** Other files that `create` creates. */
  readonly alsoCreates?: readonly string[];
  /** Permission bits of the folder around it, if that has to be created; 0o755 unless given. */
  readonly folderMode?: number;
}

const PRIVATE = { folderMode: 0o700 };

/** A file that every user may read. */
export const publicFile = (path: string, content: string): FileToCreate => ({
  path,
  create: () => writeFileAtomically(path, content),
});

/** A file in a folder that only its owner can enter; 0o644 unless `mode` is given. */
export const privateFile = (path: string, content: string | Buffer, mode = 0o644): FileToCreate => ({
  path,
  create: () => writeFileAtomically(path, content, { mode }),
  ...PRIVATE,
});

export const newFolder = (path: string): FileToCreate => ({ path, create: () => mkdir(path) });

/** An SSH key pair; `onPublicLine` receives the line of the public key. */
export const sshKeyPair = (
  path: string,
  comment: string,
  onPublicLine: (line: string) => void,
): FileToCreate => ({
  path,
  alsoCreates: [`${path}.pub`],
  create: async () => onPublicLine(await generateSshKey(path, comment)),
  ...PRIVATE,
});

/** Whether a file, a folder or a link has this name, also a link to nothing. */
async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    if (hasCode(error, 'ENOTDIR'))
      throw usage('init-not-a-folder', `${path} cannot be created: a name above it is not a folder`, {
        cause: error,
        hint: 'give a folder that is new or empty',
      });
    throw error;
  }
}

async function requireFree(paths: readonly string[]): Promise<void> {
  for (const path of paths)
    if (await exists(path))
      throw usage('init-exists', `${path} exists already; nothing was changed`, {
        hint: 'init overwrites nothing: give another folder, or move this one away',
      });
}

/**
 * Creates files in order: all of them or, if one fails, none. Files that exist are not touched: `init-exists` (usage)
 * names the first one before anything is written.
 */
export async function createFiles(files: readonly FileToCreate[]): Promise<void> {
  await requireFree(files.flatMap(({ path, alsoCreates = [] }) => [path, ...alsoCreates]));
  const created: string[] = [];
  try {
    for (const { path, create, alsoCreates = [], folderMode: mode = 0o755 } of files) {
      const outermost = await mkdir(dirname(path), { recursive: true, mode });
      if (outermost !== undefined) created.push(outermost);
      created.push(path, ...alsoCreates);
      await create();
    }
  } catch (error) {
    for (const path of created.reverse()) await rm(path, { recursive: true, force: true });
    throw error;
  }
}
