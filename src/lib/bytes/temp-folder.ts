import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asTemporary } from './temp-files.ts';

/** Creates a private temporary folder that exists as long as `use` runs. */
export async function withTempFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-'));
  return asTemporary(folder, () => use(folder));
}
