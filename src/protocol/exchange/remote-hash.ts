import type { RemoteResult } from '../../lib/ssh/exec.ts';
import { shellQuote } from '../../lib/ssh/quote.ts';

/** Up to this size, reading back takes a round trip or two, less than hashing on the host. */
const SMALL = 1024 * 1024;
/** The speed of the slowest disk, in bytes per millisecond: bounds the time that a remote hash may take. */
const SLOWEST_DISK = 10_000;
/**
 * The longest time that is allowed, in ms: meanwhile nothing is seen to move, so it must be well below the watchdog's. A file that
 * needs more is read back, which shows its progress.
 */
const LONGEST = 900_000;
const HASH_LINE = /^\\?([0-9a-f]{64})[ \t]/;

type RunRemotely = (command: string, timeoutMs: number) => Promise<RemoteResult>;

/** Whether a command that hashes so many bytes prints their SHA-256. */
async function prints(
  run: RunRemotely,
  command: string,
  expected: { size: number; sha256: string },
): Promise<boolean> {
  if (expected.size <= SMALL) return false;
  try {
    const { stdout } = await run(command, Math.min(60_000 + expected.size / SLOWEST_DISK, LONGEST));
    return HASH_LINE.exec(stdout)?.[1] === expected.sha256;
  } catch {
    return false; // A lost connection is reported by the next request.
  }
}

/**
 * The command that hashes a file, or standard input. It tries OpenSSL first: many builds of sha256sum do not use the
 * processor's SHA-256 instructions and take six times as long.
 */
const hashCommand = (quoted: string): string =>
  `openssl dgst -sha256 -r ${quoted} 2>/dev/null || sha256sum ${quoted}`;

/**
 * Only for speed: verifies a file with the host's own programs, so that a large file need not be read back. Without a
 * shell or these programs, in a chroot with other paths, and for any other result it returns false, and the caller
 * reads the file back.
 */
export async function remoteHashMatches(
  run: RunRemotely,
  path: string,
  expected: { readonly size: number; readonly sha256: string },
): Promise<boolean> {
  return prints(run, hashCommand(shellQuote(path)), expected);
}

/** The longest command line that is used, in characters. */
const LONGEST_COMMAND = 16 * 1024;

/**
 * Only for speed: verifies the concatenated ranges of a file with the host's own programs; `tail` and `head`, which
 * seek, cut them out. Returns false if the caller has to read them back.
 */
export async function remoteRangesMatch(
  run: RunRemotely,
  path: string,
  ranges: readonly { readonly start: number; readonly end: number }[],
  sha256: string,
): Promise<boolean> {
  const size = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  const cuts = ranges.map(
    ({ start, end }) => `tail -c +${start + 1} ${shellQuote(path)} | head -c ${end - start}`,
  );
  const command = `{ ${cuts.join('; ')}; } 2>/dev/null | { ${hashCommand('')}; }`;
  return command.length <= LONGEST_COMMAND && prints(run, command, { size, sha256 });
}
