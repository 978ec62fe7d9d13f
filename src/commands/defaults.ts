import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArchiveLimits } from '../archive/read.ts';

/** The same bounds as the signer's defaults (docs: configuration). */
export const DEFAULT_LIMITS: ArchiveLimits = {
  archive: 8 * 2 ** 30,
  entries: 200_000,
  entry: 4 * 2 ** 30,
  ratio: 200,
};

/** A private temporary folder for the time of `use`. */
export async function withScratch<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
