import { lstat, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hasCode, usage } from '../../lib/errors.ts';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';
import { generateSshKey } from '../../lib/ssh/generate.ts';

/** One thing to be laid out. */
export interface FileToCreate {
  readonly path: string;
  /** Makes it; the folder that it lies in is there already. */
  readonly make: () => Promise<unknown>;
  /** What else `make` leaves behind. */
  readonly also?: readonly string[];
  /** Permission bits of the folder that it lies in, where that is made; 0o755 unless given. */
  readonly folderMode?: number;
}

const PRIVATE = { folderMode: 0o700 };

/** A file that anyone may read. */
export const file = (path: string, content: string): FileToCreate => ({
  path,
  make: () => writeFileAtomically(path, content),
});

/** A file in a folder of its owner alone; 0o644 unless `mode` is given. */
export const privateFile = (path: string, content: string | Buffer, mode = 0o644): FileToCreate => ({
  path,
  make: () => writeFileAtomically(path, content, { mode }),
  ...PRIVATE,
});

/** A folder, with those above it. */
export const folder = (path: string): FileToCreate => ({ path, make: () => mkdir(path) });

/** An SSH key pair; `told` is given the public line. */
export const sshKey = (path: string, comment: string, told: (line: string) => void): FileToCreate => ({
  path,
  also: [`${path}.pub`],
  make: async () => told(await generateSshKey(path, comment)),
  ...PRIVATE,
});

/** Whether anything has this name, a dangling link included. */
async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false;
    if (hasCode(error, 'ENOTDIR'))
      throw usage('init-not-a-folder', `${path} cannot be made: something above it is no folder`, {
        cause: error,
        hint: 'give a folder that is new, or empty',
      });
    throw error;
  }
}

async function requireFree(paths: readonly string[]): Promise<void> {
  for (const path of paths)
    if (await isThere(path))
      throw usage('init-exists', `${path} is there already; nothing was changed`, {
        hint: 'init never overwrites: give another folder, or move this one away',
      });
}

/**
 * Lays out pieces in order: all of them or, when one fails, none. Nothing that is there is touched:
 * `init-exists` (usage) names the first such file before anything is written.
 */
export async function createFiles(pieces: readonly FileToCreate[]): Promise<void> {
  await requireFree(pieces.flatMap(({ path, also = [] }) => [path, ...also]));
  const made: string[] = [];
  try {
    for (const { path, make, also = [], folderMode: mode = 0o755 } of pieces) {
      const outermost = await mkdir(dirname(path), { recursive: true, mode });
      if (outermost !== undefined) made.push(outermost);
      made.push(path, ...also);
      await make();
    }
  } catch (error) {
    for (const path of made.reverse()) await rm(path, { recursive: true, force: true });
    throw error;
  }
}
