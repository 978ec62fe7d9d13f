import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { unavailable } from '../errors.ts';

/** How often the size of the growing pack is checked, in milliseconds. */
const INTERVAL = 100;

/** The least that a fetch may receive, in bytes. */
const MIN_LIMIT = 512 * 1024 * 1024;

/**
 * The most that one fetch may receive, in bytes: half of the free space, so that the first fetch of a long history
 * succeeds, and a hostile one leaves space to work.
 */
export async function fetchLimit(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Math.max(MIN_LIMIT, (bavail * bsize) / 2);
}

/** Packs that git is writing, or that it left incomplete. */
async function partialPacks(gitDir: string): Promise<string[]> {
  const folder = join(gitDir, 'objects', 'pack');
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => name.startsWith('tmp_')).map((name) => join(folder, name));
}

const sizeOf = (path: string): Promise<number> =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );

async function tooLarge(gitDir: string, limit: number): Promise<boolean> {
  const sizes = await Promise.all((await partialPacks(gitDir)).map(sizeOf));
  return sizes.some((size) => size > limit);
}

/**
 * Runs a fetch, and aborts it through the signal if the pack on disk grows beyond `limit` bytes: git 2.39 has
 * `receive.maxInputSize` for the receiving side of a push, and nothing for a fetch. A failed fetch leaves no incomplete
 * pack behind.
 */
export async function limitFetch(
  gitDir: string,
  { limit, what, signal }: { limit: number; what: string; signal?: AbortSignal | undefined },
  fetch: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const stop = new AbortController();
  const check = async (): Promise<void> => {
    if (!(await tooLarge(gitDir, limit))) return;
    const hint = 'this repository should hold only text: was something else pushed to it?';
    stop.abort(
      unavailable('git-too-large', `${what}: sends more than ${limit} bytes in one fetch`, { hint }),
    );
  };
  const timer = setInterval(() => void check(), INTERVAL);
  try {
    await fetch(signal ? AbortSignal.any([signal, stop.signal]) : stop.signal);
  } catch (error) {
    for (const path of await partialPacks(gitDir)) await rm(path, { force: true });
    throw error;
  } finally {
    clearInterval(timer);
  }
}
