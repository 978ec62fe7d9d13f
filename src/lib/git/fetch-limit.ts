import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { unavailable } from '../errors.ts';

/** How often the growing pack is looked at, in milliseconds. */
const INTERVAL = 100;

/** What may come in any case, in bytes. */
const ALWAYS = 512 * 1024 * 1024;

/**
 * The most that one fetch may bring, in bytes: half of what the disk has left, so that the first one of a
 * long history passes, and a hostile one leaves room to work.
 */
export async function fetchLimit(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return Math.max(ALWAYS, (bavail * bsize) / 2);
}

/** Packs that git is writing, or left half written. */
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
 * Runs a fetch, and stops it through the signal when the pack on disk grows beyond `limit` bytes: git 2.39 has
 * `receive.maxInputSize` for the side that is pushed to, and nothing for the side that fetches. A fetch that
 * fails leaves no half-written pack behind.
 */
export async function limitFetch(
  gitDir: string,
  { limit, what, signal }: { limit: number; what: string; signal?: AbortSignal | undefined },
  fetch: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const stop = new AbortController();
  const look = async (): Promise<void> => {
    if (!(await tooLarge(gitDir, limit))) return;
    const hint = 'a control repository holds text only: what was pushed there?';
    stop.abort(
      unavailable('git-too-large', `${what}: sends more than ${limit} bytes in one fetch`, { hint }),
    );
  };
  const timer = setInterval(() => void look(), INTERVAL);
  try {
    await fetch(signal ? AbortSignal.any([signal, stop.signal]) : stop.signal);
  } catch (error) {
    for (const path of await partialPacks(gitDir)) await rm(path, { force: true });
    throw error;
  } finally {
    clearInterval(timer);
  }
}
