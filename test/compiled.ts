import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { compileModule } from '../src/build/compile.ts';

const src = resolve(import.meta.dirname, '../src');

/**
 * Compiles a module with its imports, as `npm run build` does, into a folder with the worker thread that only compiled
 * modules have. Returns the path of the compiled module, which can be imported, required or run.
 */
export async function compiled(module: string, folder: string): Promise<string> {
  const path = join(folder, `${basename(module, '.ts')}.js`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'package.json'), '{ "type": "commonjs" }\n');
  await writeFile(join(folder, 'hash-worker.js'), await compileModule('lib/bytes/hash-worker.ts'));
  await writeFile(path, await compileModule(relative(src, resolve(module))));
  return path;
}
