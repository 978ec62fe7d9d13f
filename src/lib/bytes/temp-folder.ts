import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { asTemporary } from './temp-files.ts';

/** A private temporary folder for the time of `use`. */
export async function withTempFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-'));
  return asTemporary(folder, () => use(folder));
}
