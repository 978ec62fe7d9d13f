import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';

/** What this process made, and nobody else will remove. */
const paths = new Set<string>();

/** Has a file or folder, there or yet to be made, removed with the process, should it be stopped before `removeTemporary`. */
export const noteTemporary = (path: string): void => void paths.add(path);

export async function removeTemporary(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true });
  paths.delete(path);
}

/** What has another name now is no longer removed. */
export const keepTemporary = (path: string): void => void paths.delete(path);

/**
 * Has a file or folder, there or yet to be made, removed when `use` has ended, or with the process should
 * it be stopped before.
 */
export async function asTemporary<T>(path: string, use: () => Promise<T>): Promise<T> {
  noteTemporary(path);
  try {
    return await use();
  } finally {
    if (paths.has(path)) await removeTemporary(path);
  }
}

/** Removes all of them, for a process that ends now. */
export function removeTemporaries(): void {
  for (const path of paths) rmSync(path, { recursive: true, force: true });
}
