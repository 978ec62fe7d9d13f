import { createHash } from 'node:crypto';
import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { writeAtomically } from '../../lib/bytes/atomic-file.ts';
import { writeFully } from '../../lib/bytes/read-write-fully.ts';
import { readIntoPool, type BufferPool } from '../../lib/bytes/buffer-pool.ts';
import { sha256OfSource } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { DeliverOptions, FetchResult, OnProgress } from './exchange.ts';
import { fileChanged, localFile, verifyFailed } from './exchange-errors.ts';
import { PartialDownload } from './partial-download.ts';
import { requestPool } from './pipelined-io.ts';

const asLocal = (path: string, error: unknown): SignpipeError =>
  error instanceof SignpipeError ? error : localFile(path, messageOf(error), error);

/** Carries an error of the exchange through code that reports errors of this machine. */
class RemoteFault extends Error {
  constructor(readonly thrown: unknown) {
    super('from the exchange');
  }
}

/** Tags the exchange's errors, to distinguish them from errors of the local file that is written. */
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

/** The original error of the exchange, for the caller to explain; any other is the local file's. */
const untagged = (path: string, error: unknown): unknown =>
  error instanceof RemoteFault ? error.thrown : asLocal(path, error);

interface Download {
  /** The path on the exchange, for messages. */
  readonly name: string;
  /** The announced size in bytes. */
  readonly size: number;
  /** Each chunk is used only until the next is requested. */
  readonly content: AsyncIterable<Buffer>;
  /** Called after the last byte and before the file gets its name; throws to discard it. */
  readonly confirm: () => Promise<void>;
}

/**
 * Writes a download to `destination` and hashes it; the name appears only when exactly the announced bytes have arrived
 * and `confirm` succeeded. Throws the errors of `content` and `confirm`, and `exchange-local-file` for errors of this
 * machine.
 */
export async function receive(
  download: Download,
  destination: string,
  onProgress?: OnProgress,
): Promise<FetchResult> {
  const hash = createHash('sha256');
  let done = 0;
  try {
    await writeAtomically(destination, async (file) => {
      for await (const chunk of tagged(download.content)) {
        hash.update(chunk);
        await writeFully(file, chunk, done);
        done += chunk.length;
        onProgress?.(done, download.size);
      }
      if (done !== download.size) throw fileChanged(download.name);
      await taggedCall(download.confirm);
    });
  } catch (error) {
    throw untagged(destination, error);
  }
  return { size: done, sha256: hash.digest('hex') };
}

interface ResumableDownload extends Omit<Download, 'content'> {
  /** 16 hex digits that differ for different content. */
  readonly identity: string;
  /** Each chunk is used only until the next is requested. */
  readonly contentFrom: (start: number) => AsyncIterable<Buffer>;
}

interface ResumeOptions {
  /** The fewest bytes that are worth keeping for a later download. */
  readonly resumeAfter: number;
  readonly onProgress?: OnProgress | undefined;
  /** Whether the file is flushed to disk; see `FetchOptions`. */
  readonly flushed?: boolean | undefined;
  /** Called with the offset at which the transfer begins. */
  readonly onStart?: (start: number) => void;
}

/**
 * Writes a download to `destination` like `receive`, but resumes an interrupted download of the same file, and keeps
 * the bytes if it is interrupted itself. The hash covers all bytes on disk.
 */
export async function receiveResumable(
  download: ResumableDownload,
  destination: string,
  options: ResumeOptions,
): Promise<FetchResult> {
  let partial: PartialDownload | undefined;
  try {
    partial = await PartialDownload.open(destination, download.identity);
    options.onStart?.(partial.size);
    for await (const chunk of tagged(download.contentFrom(partial.size))) {
      await partial.append(chunk);
      options.onProgress?.(partial.size, download.size);
    }
    if (partial.size !== download.size) throw fileChanged(download.name);
    await taggedCall(download.confirm);
    await partial.publish(options.flushed ?? true);
    return { size: partial.size, sha256: partial.hash.digest('hex') };
  } catch (caught) {
    const error = untagged(destination, caught);
    // An error that the caller has yet to explain comes from a failed read, which may succeed next time.
    const interrupted = !(error instanceof SignpipeError) || error.retryable;
    if (interrupted && partial && partial.size >= options.resumeAfter) await partial.keep();
    else await partial?.discard();
    throw error;
  }
}

/** Reads from the local source; the system's errors become `exchange-local-file`. */
async function readLocally(content: ByteSource, target: Buffer, offset: number): Promise<void> {
  try {
    if (content.readInto) await content.readInto(target, offset);
    else (await content.read(offset, target.length)).copy(target);
  } catch (error) {
    throw asLocal(content.name, error);
  }
}

/**
 * Reads the content to deliver in order; the next block is read while one is being sent. The caller returns each block
 * to `pool`, and verifies the hash where the content arrived; `whyDifferent` explains a difference.
 */
export async function* blocksToSend(
  content: ByteSource,
  { size, onProgress }: Pick<DeliverOptions, 'size' | 'onProgress'>,
  { start = 0, pool = requestPool() }: { start?: number; pool?: BufferPool } = {},
): AsyncGenerator<Buffer> {
  if (content.size !== size)
    throw localFile(content.name, `has ${content.size} bytes instead of the ${size} to deliver`);
  const fill = (target: Buffer, offset: number): Promise<void> => readLocally(content, target, offset);
  let done = start;
  for await (const block of readIntoPool(start, size, fill, { ahead: 1, pool })) {
    yield block;
    onProgress?.((done += block.length), size);
  }
}

const notAnnounced = ({ name }: ByteSource): SignpipeError =>
  localFile(name, 'its SHA-256 differs from the one to deliver');

/** Reads the content to deliver and hashes it: throws after the last byte unless it has the announced SHA-256. */
export async function* verifiedBlocksToSend(
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

/** Why the stored file has a different SHA-256 than announced: the content changed, or it was damaged on the way. */
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
