import { rmSync } from 'node:fs';

/** Files and folders of this process that nobody else will remove. */
const paths = new Set<string>();

/** Has `path` removed with the process, should it be stopped, for the time of `use`. */
export async function asTemporary<T>(path: string, use: () => Promise<T>): Promise<T> {
  paths.add(path);
  try {
    return await use();
  } finally {
    paths.delete(path);
  }
}

/** Removes what would be left behind if the process ended now. */
export function removeTemporaries(): void {
  for (const path of paths) rmSync(path, { recursive: true, force: true });
}
