import { rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';

/** What this process made, and nobody else will remove. */
const paths = new Set<string>();

/**
 * Has a file or folder, there or yet to be made, removed when `use` has ended, or with the process should
 * it be stopped before. What was given another name meanwhile stays.
 */
export async function asTemporary<T>(path: string, use: () => Promise<T>): Promise<T> {
  paths.add(path);
  try {
    return await use();
  } finally {
    await rm(path, { recursive: true, force: true });
    paths.delete(path);
  }
}

/** Removes all of them, for a process that ends now. */
export function removeTemporaries(): void {
  for (const path of paths) rmSync(path, { recursive: true, force: true });
}
