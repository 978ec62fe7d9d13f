import type { RemoteResult } from '../ssh/exec.ts';
import { shellQuote } from '../ssh/quote.ts';

/** Up to here reading back costs a round trip or two, and asking the host to hash would cost more. */
const SMALL = 1024 * 1024;
/** What any disk delivers, in bytes a millisecond: bounds the time a remote hash may take. */
const SLOWEST_DISK = 10_000;
const ANSWER = /^\\?([0-9a-f]{64})[ \t]/;

/**
 * Asks the host's own `sha256sum` whether a file holds the right bytes, which saves the way back of a
 * large file. Only a "yes" counts: no shell, no such program, a jail with other paths or any other
 * answer is `false`, and the file is then read back instead.
 */
export async function hashesThere(
  run: (command: string, timeoutMs: number) => Promise<RemoteResult>,
  path: string,
  expected: { readonly size: number; readonly sha256: string },
): Promise<boolean> {
  if (expected.size <= SMALL) return false;
  try {
    const { stdout } = await run(`sha256sum ${shellQuote(path)}`, 60_000 + expected.size / SLOWEST_DISK);
    return ANSWER.exec(stdout)?.[1] === expected.sha256;
  } catch {
    return false; // A connection that is gone shows with the next request.
  }
}
