import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';

const run = promisify(execFile);

const packed = z.array(z.object({ filename: z.string() })).length(1);

/** npm's output is an array, or since npm 11 an object by package name. */
function packedFile(output: string): string {
  const json: unknown = JSON.parse(output);
  const [{ filename } = { filename: '' }] = packed.parse(
    Array.isArray(json) ? json : Object.values(json as object),
  );
  return filename;
}

/** Packs what is compiled, writes the tarball into a folder and returns its name. The same files make the same bytes. */
export async function packForNpm(root: string, folder: string): Promise<string> {
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', folder];
  const { stdout } = await run('npm', args, { cwd: root, maxBuffer: 2 ** 24 });
  return packedFile(stdout);
}

/** Unpacks such a tarball; returns the folder with its content. */
export async function unpack(tarball: string, folder: string): Promise<string> {
  await run('tar', ['-xzf', tarball, '-C', folder]);
  return join(folder, 'package');
}
