import type { RemoteResult } from '../../lib/ssh/exec.ts';
import { shellQuote } from '../../lib/ssh/quote.ts';

/** Up to here reading back costs a round trip or two, and asking the host to hash would cost more. */
const SMALL = 1024 * 1024;
/** What any disk delivers, in bytes a millisecond: bounds the time a remote hash may take. */
const SLOWEST_DISK = 10_000;
const ANSWER = /^\\?([0-9a-f]{64})[ \t]/;

/**
 * Hashes a file, or without one its standard input. OpenSSL first, where it is: many builds of sha256sum do
 * without the processor's own instructions for SHA-256, and take six times as long.
 */
const hashing = (quoted: string): string =>
  `openssl dgst -sha256 -r ${quoted} 2>/dev/null || sha256sum ${quoted}`;

/**
 * Asks the host's own programs whether a file holds the right bytes, which saves the way back of a
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
    const { stdout } = await run(hashing(shellQuote(path)), 60_000 + expected.size / SLOWEST_DISK);
    return ANSWER.exec(stdout)?.[1] === expected.sha256;
  } catch {
    return false; // A connection that is gone shows with the next request.
  }
}

/** Longer command lines are not tried. */
const LONGEST_COMMAND = 16 * 1024;

/**
 * The same for runs of a file, hashed as if they were one: each is cut out by `tail` and `head`, which
 * seek. Nothing to hash is `false`.
 */
export async function runsHashThere(
  run: (command: string, timeoutMs: number) => Promise<RemoteResult>,
  path: string,
  runs: readonly { readonly start: number; readonly end: number }[],
  sha256: string,
): Promise<boolean> {
  const size = runs.reduce((sum, { start, end }) => sum + end - start, 0);
  if (size <= SMALL) return false;
  const cuts = runs.map(
    ({ start, end }) => `tail -c +${start + 1} ${shellQuote(path)} | head -c ${end - start}`,
  );
  const command = `{ ${cuts.join('; ')}; } 2>/dev/null | { ${hashing('')}; }`;
  if (command.length > LONGEST_COMMAND) return false;
  try {
    const { stdout } = await run(command, 60_000 + size / SLOWEST_DISK);
    return ANSWER.exec(stdout)?.[1] === sha256;
  } catch {
    return false;
  }
}
