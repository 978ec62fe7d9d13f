import { promisify } from 'node:util';
import { createInflateRaw, type InflateRaw } from 'node:zlib';
import { hasCode } from '../errors.ts';

const write = promisify((inflate: InflateRaw, bytes: Buffer, done: (error?: Error | null) => void) =>
  inflate.write(bytes, done),
);

/** Each chunk is asked for when the one before was taken in: its memory may be used again then. */
async function feed(
  inflate: InflateRaw,
  packed: AsyncIterable<Buffer>,
  seen: (bytes: Buffer) => void,
): Promise<void> {
  try {
    for await (const chunk of packed) {
      const taken = write(inflate, chunk);
      seen(chunk);
      await taken;
    }
    inflate.end();
  } catch (error) {
    // It reaches whoever reads; nothing happens where that is why it failed.
    inflate.destroy(error instanceof Error ? error : new Error(String(error)));
  }
}

/**
 * Inflates a raw deflate stream. `room` is the memory inflated into at a time, in bytes; `seen` is shown each
 * packed chunk while another thread inflates it. `bytesWritten` tells how many packed bytes were used.
 */
export function inflating(
  packed: AsyncIterable<Buffer>,
  room: number,
  seen: (bytes: Buffer) => void = () => {},
): InflateRaw {
  const inflate = createInflateRaw({ chunkSize: Math.max(64, room) });
  void feed(inflate, packed, seen);
  return inflate;
}

/** Whether an error says that a stream is not sound. */
export const isUnsound = (error: unknown): boolean =>
  ['Z_DATA_ERROR', 'Z_BUF_ERROR', 'Z_NEED_DICT'].some((code) => hasCode(error, code));
