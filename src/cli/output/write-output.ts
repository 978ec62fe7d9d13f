import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { hasCode } from '../../lib/errors.ts';
import { stretches } from '../../lib/bytes/text-chunks.ts';
import { standardOutput } from './terminal.ts';

function* line(pieces: Iterable<string>): Generator<string> {
  yield* pieces;
  yield '\n';
}

/** A long text, which comes in pieces, and the end of its last line to standard output; it is never held as a whole. */
export async function writeToStandardOutput(pieces: Iterable<string>): Promise<void> {
  try {
    await pipeline(Readable.from(stretches(line(pieces))), standardOutput(), { end: false });
  } catch (error) {
    // A reader that had enough; see `standardOutput`.
    if (!hasCode(error, 'EPIPE')) throw error;
  }
}
