import { createHash } from 'node:crypto';
import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { writeAtomically } from '../../lib/bytes/atomic-file.ts';
import { writeAll } from '../../lib/bytes/read-write-fully.ts';
import { readIntoPool, type BufferPool } from '../../lib/bytes/buffer-pool.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { DeliverOptions, Fetched, Progress } from './exchange.ts';
import { fileChanged, localFile, verifyFailed } from './exchange-errors.ts';
import { Partial } from './partial-download.ts';
import { requestPool } from './pipelined-io.ts';

const asLocal = (path: string, error: unknown): SignpipeError =>
  error instanceof SignpipeError ? error : localFile(path, messageOf(error), error);

/** An error that came out of the exchange, on its way through code that reports errors of this machine. */
class RemoteFault extends Error {
  constructor(readonly thrown: unknown) {
    super('from the exchange');
  }
}

/** What the exchange sends, its errors tagged: they are not those of the local file that is being written. */
async function* tagged(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* content;
  } catch (error) {
    throw new RemoteFault(error);
  }
}

const taggedCall = async (confirm: () => Promise<void>): Promise<void> => {
  try {
    await confirm();
  } catch (error) {
    throw new RemoteFault(error);
  }
};

/** An error of the exchange as it was thrown, for the caller to explain; any other is the local file's. */
const untagged = (path: string, error: unknown): unknown =>
  error instanceof RemoteFault ? error.thrown : asLocal(path, error);

export interface Incoming {
  /** The path on the exchange, for messages. */
  readonly name: string;
  /** How many bytes were promised. */
  readonly size: number;
  /** Each chunk need only be good until the next is asked for. */
  readonly content: AsyncIterable<Buffer>;
  /** Runs after the last byte and before the file gets its name; throws when it must not. */
  readonly confirm: () => Promise<void>;
}

/**
 * Writes what comes in to `destination`, hashed on the way; the name shows up only when every promised
 * byte came, none more, and `confirm` agreed. Throws what `content` and `confirm` throw as it is, and
 * `exchange-local-file` for what fails on this machine.
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
      for await (const chunk of tagged(incoming.content)) {
        hash.update(chunk);
        await writeAll(file, chunk, done);
        done += chunk.length;
        onProgress?.(done, incoming.size);
      }
      if (done !== incoming.size) throw fileChanged(incoming.name);
      await taggedCall(incoming.confirm);
    });
  } catch (error) {
    throw untagged(destination, error);
  }
  return { size: done, sha256: hash.digest('hex') };
}

export interface Resumable extends Omit<Incoming, 'content'> {
  /** Hex, 16 digits; the same only for the same bytes. */
  readonly identity: string;
  /** Each chunk need only be good until the next is asked for. */
  readonly contentFrom: (start: number) => AsyncIterable<Buffer>;
}

/** How a resumable transfer is to be done. */
export interface ResumeOptions {
  /** From how many bytes on it is worth going on with what came in. */
  readonly resumeAfter: number;
  readonly onProgress?: Progress | undefined;
  /** As `FetchOptions` has it. */
  readonly flushed?: boolean | undefined;
  /** Told where the transfer begins. */
  readonly onStart?: (start: number) => void;
}

/**
 * As `receive`, but goes on with what an earlier transfer of the same file brought, and keeps what this
 * one brings when it is interrupted. The hash is that of all bytes as they lie on disk.
 */
export async function receiveOn(
  incoming: Resumable,
  destination: string,
  options: ResumeOptions,
): Promise<Fetched> {
  let partial: Partial | undefined;
  try {
    partial = await Partial.open(destination, incoming.identity);
    options.onStart?.(partial.size);
    for await (const chunk of tagged(incoming.contentFrom(partial.size))) {
      await partial.append(chunk);
      options.onProgress?.(partial.size, incoming.size);
    }
    if (partial.size !== incoming.size) throw fileChanged(incoming.name);
    await taggedCall(incoming.confirm);
    await partial.publish(options.flushed ?? true);
    return { size: partial.size, sha256: partial.hash.digest('hex') };
  } catch (caught) {
    const error = untagged(destination, caught);
    // An error that the caller has yet to explain came out of a read that failed, and may succeed next time.
    const interrupted = !(error instanceof SignpipeError) || error.retryable;
    if (interrupted && partial && partial.size >= options.resumeAfter) await partial.keep();
    else await partial?.discard();
    throw error;
  }
}

/** Where what is sent begins, and the memory that it uses; what it yields is not given back unless the caller does. */
export interface SendingOptions {
  readonly start?: number;
  readonly pool?: BufferPool;
}

/** Fills memory from the local side; what the system says of it is told as `exchange-local-file`. */
async function readLocally(content: ByteSource, target: Buffer, offset: number): Promise<void> {
  try {
    if (content.readInto) await content.readInto(target, offset);
    else (await content.read(offset, target.length)).copy(target);
  } catch (error) {
    throw asLocal(content.name, error);
  }
}

/**
 * The bytes of what is delivered in order, the next block being read while one is on its way. Whoever
 * sends them has the whole hashed where it arrived; `whyDifferent` tells what it means when that differs.
 */
export async function* blocksToSend(
  content: ByteSource,
  { size, onProgress }: Pick<DeliverOptions, 'size' | 'onProgress'>,
  { start = 0, pool = requestPool() }: SendingOptions = {},
): AsyncGenerator<Buffer> {
  if (content.size !== size)
    throw localFile(content.name, `has ${content.size} bytes, and ${size} were to be delivered`);
  const fill = (target: Buffer, offset: number): Promise<void> => readLocally(content, target, offset);
  let done = start;
  for await (const block of readIntoPool(start, size, fill, { ahead: 1, pool })) {
    yield block;
    onProgress?.((done += block.length), size);
  }
}

const notAnnounced = ({ name }: ByteSource): SignpipeError =>
  localFile(name, 'its SHA-256 is not the one to be delivered');

/** The same, hashed on the way: fails after the last byte unless that is the announced SHA-256. */
export async function* announced(
  content: ByteSource,
  options: Pick<DeliverOptions, 'size' | 'sha256'>,
  pool = requestPool(),
): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const block of blocksToSend(content, options, { pool })) {
    hash.update(block);
    yield block;
  }
  if (hash.digest('hex') !== options.sha256) throw notAnnounced(content);
}

/** Why what was stored under `path` has another SHA-256 than announced: the content has, or it was damaged on the way. */
export async function whyDifferent(
  content: ByteSource,
  path: string,
  { sha256 }: DeliverOptions,
): Promise<SignpipeError> {
  try {
    if ((await sha256OfSource(content)) !== sha256) return notAnnounced(content);
  } catch (error) {
    return asLocal(content.name, error);
  }
  return verifyFailed(path, 'its SHA-256 differs');
}
