import type { RemoteResult } from '../../lib/ssh/exec.ts';
import { shellQuote } from '../../lib/ssh/quote.ts';

/** Up to this size, reading back takes a round trip or two, less than hashing on the host. */
const SMALL = 1024 * 1024;
/** The speed of the slowest disk, in bytes per millisecond: bounds the time that a remote hash may take. */
const SLOWEST_DISK = 10_000;
const HASH_LINE = /^\\?([0-9a-f]{64})[ \t]/;

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
  run: (command: string, timeoutMs: number) => Promise<RemoteResult>,
  path: string,
  expected: { readonly size: number; readonly sha256: string },
): Promise<boolean> {
  if (expected.size <= SMALL) return false;
  try {
    const { stdout } = await run(hashCommand(shellQuote(path)), 60_000 + expected.size / SLOWEST_DISK);
    return HASH_LINE.exec(stdout)?.[1] === expected.sha256;
  } catch {
    return false; // A lost connection is reported by the next request.
  }
}

/** The longest command line that is used, in characters. */
const LONGEST_COMMAND = 16 * 1024;

/**
 * Only for speed: verifies the concatenated ranges of a file with the host's own programs; `tail` and `head`, which
 * seek, cut them out. Returns false if the caller has to read them back.
 */
export async function remoteRangesMatch(
  run: (command: string, timeoutMs: number) => Promise<RemoteResult>,
  path: string,
  ranges: readonly { readonly start: number; readonly end: number }[],
  sha256: string,
): Promise<boolean> {
  const size = ranges.reduce((sum, { start, end }) => sum + end - start, 0);
  if (size <= SMALL) return false;
  const cuts = ranges.map(
    ({ start, end }) => `tail -c +${start + 1} ${shellQuote(path)} | head -c ${end - start}`,
  );
  const command = `{ ${cuts.join('; ')}; } 2>/dev/null | { ${hashCommand('')}; }`;
  if (command.length > LONGEST_COMMAND) return false;
  try {
    const { stdout } = await run(command, 60_000 + size / SLOWEST_DISK);
    return HASH_LINE.exec(stdout)?.[1] === sha256;
  } catch {
    return false;
  }
}
