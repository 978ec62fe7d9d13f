import { posix } from 'node:path';
import type { Exchange, ListedEntry } from '../../../protocol/exchange/exchange.ts';

/** How much of the exchange one sweep looks at. */
const LIMITS = { entries: 100_000, depth: 10 };

/** What a file or folder on the exchange may be called for it to be removed: the grammar of zipname. */
const NAME = /^[A-Za-z0-9._+@=][A-Za-z0-9._+@=-]*$/;
const isPlain = (name: string): boolean =>
  NAME.test(name) && name !== '.' && name !== '..' && name.length <= 255;

/** All files and folders below a folder of the exchange, by their paths. */
export interface ExchangeFiles {
  readonly files: ReadonlyMap<string, ListedEntry>;
  /** Those below come after those that they are in. */
  readonly folders: ReadonlyMap<string, ListedEntry>;
}

/** Lists a folder of the exchange with all below it; null if the protocol lists no folders. Links are not followed. */
export async function listBelow(exchange: Exchange, root: string): Promise<ExchangeFiles | null> {
  const files = new Map<string, ListedEntry>();
  const folders = new Map<string, ListedEntry>();
  const waiting = [{ path: root, depth: 0 }];
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const left = LIMITS.entries - files.size - folders.size;
    const entries = await exchange.list(next.path, Math.max(0, left));
    if (entries === null) return null;
    for (const entry of entries) {
      if (!isPlain(entry.name)) continue;
      const path = posix.join(next.path, entry.name);
      if (entry.kind === 'file') files.set(path, entry);
      else if (entry.kind === 'folder' && next.depth < LIMITS.depth) {
        folders.set(path, entry);
        waiting.push({ path, depth: next.depth + 1 });
      }
    }
  }
  return { files, folders };
}
