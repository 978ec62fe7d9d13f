import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { stretches } from '../io/stretches.ts';

function* line(pieces: Iterable<string>): Generator<string> {
  yield* pieces;
  yield '\n';
}

const isClosed = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EPIPE';

/**
 * A long text, which comes in pieces, and the end of its last line to standard output; it is never held as a whole.
 * Whoever reads it may have enough before its end, as `head` has: that is no fault.
 */
export async function printPieces(pieces: Iterable<string>): Promise<void> {
  try {
    await pipeline(Readable.from(stretches(line(pieces))), process.stdout, { end: false });
  } catch (error) {
    if (!isClosed(error)) throw error;
  }
}
