import { stat } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';

/** How often a file is looked at, in ms. Its change counts when two looks in a row find it the same. */
const LOOK_EVERY = 1000;

/** What changes of a file when it is written or replaced; null if it is missing or no file, such as a pipe. */
export async function fileVersion(path: string): Promise<string | null> {
  const info = await stat(path, { bigint: true }).catch(() => null);
  return info?.isFile() ? [info.dev, info.ino, info.size, info.mtimeNs, info.ctimeNs].join(' ') : null;
}

/** Notices that a file has changed, from the versions that are seen one after another. */
export class FileChange {
  private last: string | null;

  constructor(private reported: string | null) {
    this.last = reported;
  }

  /** Whether the file has changed, and is the same as when it was looked at last: an editor may write it in parts. */
  see(version: string | null): boolean {
    const isStable = version !== null && version === this.last;
    this.last = version;
    if (!isStable || version === this.reported) return false;
    this.reported = version;
    return true;
  }
}

/**
 * Calls `report` each time when a file is no longer of the version that is `known`, once it stays the same for a second.
 * Returns the function that stops this. (`fs.watch` misses changes on network file systems, and loses a file that is
 * replaced.)
 */
export function onFileChange(
  path: string,
  report: () => void,
  { known, every = LOOK_EVERY }: { known: string | null; readonly every?: number },
): () => void {
  const change = new FileChange(known);
  let looking = Promise.resolve();
  const look = async (): Promise<void> => {
    if (change.see(await fileVersion(path))) report();
  };
  const timer = setInterval(() => void (looking = looking.then(look)), every).unref();
  return () => clearInterval(timer);
}

const isSection = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const entriesOf = (section: object): Map<string, unknown> =>
  new Map(section instanceof Map ? section : Object.entries(section));

/** The keys whose values differ between two configurations, such as `trust.delay`; never a value. */
export function changedKeys(before: unknown, after: unknown, path = ''): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isSection(before) || !isSection(after)) return [path];
  const [old, fresh] = [entriesOf(before), entriesOf(after)];
  return [...new Set([...old.keys(), ...fresh.keys()])].flatMap((key) =>
    changedKeys(old.get(key), fresh.get(key), path === '' ? key : `${path}.${key}`),
  );
}
