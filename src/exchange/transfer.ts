import { createHash } from 'node:crypto';
import { messageOf, SignpipeError } from '../errors.ts';
import { writeAtomically } from '../io/atomic.ts';
import { FileSource } from '../io/source.ts';
import type { DeliverOptions, Fetched, Progress } from './contract.ts';
import { fileChanged, localFile } from './failures.ts';
import { REQUEST_SIZE } from './pipeline.ts';

const asLocal = (path: string, error: unknown): SignpipeError =>
  error instanceof SignpipeError ? error : localFile(path, messageOf(error), error);

export interface Incoming {
  /** The path on the exchange, for messages. */
  readonly name: string;
  /** How many bytes were promised. */
  readonly size: number;
  readonly content: AsyncIterable<Buffer>;
  /** Runs after the last byte and before the file gets its name; throws when it must not. */
  readonly confirm: () => Promise<void>;
}

/**
 * Writes what comes in to `destination`, hashed on the way; the name shows up only when every promised
 * byte came, none more, and `confirm` agreed.
 */
export async function receive(
  incoming: Incoming,
  destination: string,
  onProgress?: Progress,
): Promise<Fetched> {
  const hash = createHash('sha256');
  let done = 0;
  try {
    await writeAtomically(destination, async (file) => {
      for await (const chunk of incoming.content) {
        hash.update(chunk);
        for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
        done += chunk.length;
        onProgress?.(done, incoming.size);
      }
      if (done !== incoming.size) throw fileChanged(incoming.name);
      await incoming.confirm();
    });
  } catch (error) {
    throw asLocal(destination, error);
  }
  return { size: done, sha256: hash.digest('hex') };
}

/** Opens the local file to deliver; its size must be the announced one. */
async function openAnnounced(file: string, size: number): Promise<FileSource> {
  const source = await FileSource.open(file);
  if (source.size === size) return source;
  await source.close();
  throw localFile(file, `has ${source.size} bytes, and ${size} were to be delivered`);
}

/** The bytes of the local file in order; fails after the last one unless they hash as announced. */
export async function* announced(file: string, options: DeliverOptions): AsyncGenerator<Buffer> {
  const { size, sha256, onProgress } = options;
  const hash = createHash('sha256');
  const source = await openAnnounced(file, size);
  try {
    for (let at = 0; at < size; at += REQUEST_SIZE) {
      const chunk = await source.read(at, Math.min(REQUEST_SIZE, size - at));
      hash.update(chunk);
      yield chunk;
      onProgress?.(at + chunk.length, size);
    }
  } finally {
    await source.close();
  }
  if (hash.digest('hex') !== sha256) throw localFile(file, 'its SHA-256 is not the one to be delivered');
}
