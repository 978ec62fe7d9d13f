import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../../lib/package-root.ts';

/** The path of a file of this package, below `keys.example/` or `pipeline/`. */
export const shippedFilePath = (name: string): string => fileURLToPath(new URL(name, packageRoot));

/** Reads a file of this package, below `keys.example/` or `pipeline/`. */
export const readShippedFile = (name: string): Promise<string> => readFile(shippedFilePath(name), 'utf8');
