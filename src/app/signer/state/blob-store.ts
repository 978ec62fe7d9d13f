import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hasCode, SignpipeError } from '../../../lib/errors.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';

/** One file in the state folder that holds many small ones of the current request, each by a SHA-256 in hex. */
export interface BlobStore {
  readonly file: string;
  /** What it holds, for messages. */
  readonly what: string;
}

/** Every detached signature made for the current request, by the SHA-256 of the unsigned program. */
export const signatureStore = (state: string): BlobStore => ({
  file: join(state, 'journal.signatures'),
  what: 'signatures',
});

/** What is delivered beside the signed files, by its own SHA-256. */
export const attachmentStore = (state: string): BlobStore => ({
  file: join(state, 'journal.attachments'),
  what: 'attachments',
});

/** All stores of a state folder; they belong to the journal's record. */
export const blobStores = (state: string): readonly BlobStore[] => [
  signatureStore(state),
  attachmentStore(state),
];

/** Each SHA-256, and the length of its content in bytes. */
const contents = z.array(z.tuple([z.string().regex(/^[0-9a-f]{64}$/), z.int().nonnegative()]));

/**
 * Writes a store; when this returns, it is on disk. It is one file only for speed: a thousand files would be flushed a
 * thousand times.
 */
export function writeBlobs({ file }: BlobStore, blobs: ReadonlyMap<string, Buffer>): Promise<void> {
  const head = JSON.stringify([...blobs].map(([sha256, { length }]) => [sha256, length]));
  const bytes = Buffer.concat([Buffer.from(`${head}\n`), ...blobs.values()]);
  return writeFileAtomically(file, bytes, { mode: 0o600 });
}

/** Reads a store; throws `work-missing` if the file or a part of it is gone. */
export async function readBlobs({ file, what }: BlobStore): Promise<Map<string, Buffer>> {
  const blobs = new Map<string, Buffer>();
  try {
    const bytes = await readFile(file);
    let at = bytes.indexOf('\n') + 1;
    for (const [sha256, length] of contents.parse(JSON.parse(bytes.toString('utf8', 0, at)))) {
      blobs.set(sha256, bytes.subarray(at, at + length));
      at += length;
    }
    if (at !== bytes.length) throw new RangeError(`${bytes.length} bytes instead of ${at}`);
    return blobs;
  } catch (error) {
    throw workMissing(
      `${file}: the ${what} of the current request are ${hasCode(error, 'ENOENT') ? 'gone' : 'damaged'}`,
      error,
    );
  }
}

/** What a store holds under a SHA-256; throws `work-missing` if it holds nothing. */
export function blobOf({ what }: BlobStore, blobs: ReadonlyMap<string, Buffer>, sha256: string): Buffer {
  const blob = blobs.get(sha256);
  if (blob) return blob;
  throw workMissing(`the ${what} of the current request have none for the SHA-256 ${sha256}`);
}

/** Those that are asked for, by SHA-256; the store is not read if none is. */
export async function pickBlobs(
  store: BlobStore,
  wanted: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  const blobs = wanted.length > 0 ? await readBlobs(store) : new Map<string, Buffer>();
  return new Map(wanted.map((sha256) => [sha256, blobOf(store, blobs, sha256)]));
}

const workMissing = (message: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'work-missing', message, {
    hint: 'its file is delivered, but its receipt cannot be written: restore the state folder, or move its journal.json away: the request is then answered again',
    cause,
  });
