import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../lib/package-root.ts';

/** The path of a file that is shipped with the package: under `keys.example/` or `pipeline/`. */
export const shippedPath = (name: string): string => fileURLToPath(new URL(name, packageRoot));

/** The text of such a file. */
export const shipped = (name: string): Promise<string> => readFile(shippedPath(name), 'utf8');
