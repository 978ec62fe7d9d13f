import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

/** The package's own folders, from `src/setup` and from `dist/setup` alike. */
const root = new URL('../../', import.meta.url);

/** The path of a file that is shipped with the package: under `keys.example/` or `pipeline/`. */
export const shippedPath = (name: string): string => fileURLToPath(new URL(name, root));

/** The text of such a file. */
export const shipped = (name: string): Promise<string> => readFile(shippedPath(name), 'utf8');
