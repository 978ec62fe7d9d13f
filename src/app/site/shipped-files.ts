import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../lib/package-root.ts';

/** The path of a file that is readShippedFile with the package: under `keys.example/` or `pipeline/`. */
export const shippedFilePath = (name: string): string => fileURLToPath(new URL(name, packageRoot));

/** The text of such a file. */
export const readShippedFile = (name: string): Promise<string> => readFile(shippedFilePath(name), 'utf8');
