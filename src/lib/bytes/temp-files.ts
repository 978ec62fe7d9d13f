import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';

/** Temporary files and folders of this process, which nothing else removes. */
const paths = new Set<string>();

/** Registers a file or folder, existing or not, to be removed if the process is stopped before `removeTemporary`. */
export const noteTemporary = (path: string): void => void paths.add(path);

/** Removes a registered file or folder. One that is to be kept stays: it may be all that is left of some content. */
export async function removeTemporary(path: string): Promise<void> {
  if (!paths.has(path)) return;
  await rm(path, { recursive: true, force: true });
  paths.delete(path);
}

/** Unregisters a file that is to be kept, for example under another name. */
export const keepTemporary = (path: string): void => void paths.delete(path);

/**
 * Removes a file or folder, which may not exist yet, when `use` has ended, or if the process is stopped before.
 */
export async function asTemporary<T>(path: string, use: () => Promise<T>): Promise<T> {
  noteTemporary(path);
  try {
    return await use();
  } finally {
    await removeTemporary(path);
  }
}

/** Removes all registered files and folders, for a process that ends now. */
export function removeTemporaries(): void {
  for (const path of paths) rmSync(path, { recursive: true, force: true });
}
