import { promisify } from 'node:util';
import { createInflateRaw, type InflateRaw } from 'node:zlib';
import { hasCode } from '../errors.ts';

const write = promisify((inflate: InflateRaw, bytes: Buffer, done: (error?: Error | null) => void) =>
  inflate.write(bytes, done),
);

/** Asks for each chunk only after the one before was used, since its memory may be reused then. */
async function feed(
  inflate: InflateRaw,
  compressed: AsyncIterable<Buffer>,
  seen: (bytes: Buffer) => void,
): Promise<void> {
  try {
    for await (const chunk of compressed) {
      const writing = write(inflate, chunk);
      seen(chunk);
      await writing;
    }
    inflate.end();
  } catch (error) {
    // The reader of the stream gets it; if the reader destroyed the stream, nothing happens.
    inflate.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/**
 * Inflates a raw deflate stream. `room` is how much is inflated at a time, in bytes; `seen` is called with each
 * compressed chunk while another thread inflates it. `bytesWritten` is then the number of compressed bytes used.
 */
export function inflateStream(
  compressed: AsyncIterable<Buffer>,
  room: number,
  seen: (bytes: Buffer) => void = () => {},
): InflateRaw {
  const inflate = createInflateRaw({ chunkSize: Math.max(64, room) });
  void feed(inflate, compressed, seen);
  return inflate;
}

/** Whether an error means that a stream is damaged. */
export const isDamaged = (error: unknown): boolean =>
  ['Z_DATA_ERROR', 'Z_BUF_ERROR', 'Z_NEED_DICT'].some((code) => hasCode(error, code));
