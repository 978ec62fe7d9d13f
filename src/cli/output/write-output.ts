import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { hasCode } from '../../lib/errors.ts';
import { textChunks } from '../../lib/bytes/text-chunks.ts';
import { standardOutput } from './terminal.ts';

function* withLineEnd(chunks: Iterable<string>): Generator<string> {
  yield* chunks;
  yield '\n';
}

/** Writes a long text, which arrives in chunks, and a line end to standard output. It is never held in memory as a whole. */
export async function writeToStandardOutput(chunks: Iterable<string>): Promise<void> {
  try {
    await pipeline(Readable.from(textChunks(withLineEnd(chunks))), standardOutput(), { end: false });
  } catch (error) {
    // The reader closed the pipe early, which is not an error.
    if (!hasCode(error, 'EPIPE')) throw error;
  }
}
