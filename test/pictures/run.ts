/** Makes the pictures in docs/pictures: `npm run pictures`. Look at them before they are committed. */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { drawPages } from './page-pictures.ts';
import { drawTerminals } from './terminal-pictures.ts';

const folder = join(import.meta.dirname, '../../docs/pictures');
await mkdir(folder, { recursive: true });
await drawTerminals(folder);
await drawPages(folder);
for (const name of await readdir(folder))
  console.log(`${name}  ${(await stat(join(folder, name))).size} bytes`);
