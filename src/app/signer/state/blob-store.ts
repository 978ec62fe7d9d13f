import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hasCode, SignpipeError } from '../../../lib/errors.ts';
import { writeFileAtomically } from '../../../lib/bytes/atomic-file.ts';

/** One file in the state folder that holds many small ones of one request, each by a name that begins with a SHA-256. */
export interface BlobStore {
  readonly file: string;
  /** What it holds, for messages. */
  readonly what: string;
  /** The ending of names that have none: in stores that were written when all had the same. */
  readonly ending: string;
}

/** Every detached signature made for a request, by its file name in the receipt. */
export const signatureStore = (state: string, request: string): BlobStore => ({
  file: join(state, `journal.${request}.signatures`),
  what: 'signatures',
  ending: '.p7',
});

/** What is delivered beside the signed files, by its own SHA-256. */
export const attachmentStore = (state: string, request: string): BlobStore => ({
  file: join(state, `journal.${request}.attachments`),
  what: 'attachments',
  ending: '',
});

/** All stores of a request; they belong to its record in the journal. */
export const blobStores = (state: string, request: string): readonly BlobStore[] => [
  signatureStore(state, request),
  attachmentStore(state, request),
];

/** The request that a file in the state folder is a store of; null if it is none. */
export const requestOfStore = (file: string): string | null =>
  /^journal\.([0-9a-f]{40})\.(?:signatures|attachments)$/.exec(file)?.[1] ?? null;

/** The names that stores had in the time when the journal held one request, by the names that they have now. */
export const earlierStores = (state: string, request: string): readonly [earlier: string, now: string][] => [
  [join(state, 'journal.signatures'), signatureStore(state, request).file],
  [join(state, 'journal.attachments'), attachmentStore(state, request).file],
];

/** Each name, and the length of its content in bytes. */
const contents = z.array(
  z.tuple([z.string().regex(/^[0-9a-f]{64}(?:\.[0-9a-z]{1,16}){0,2}$/), z.int().nonnegative()]),
);

/**
 * Writes a store; when this returns, it is on disk. It is one file only for speed: a thousand files would be flushed a
 * thousand times.
 */
export function writeBlobs({ file }: BlobStore, blobs: ReadonlyMap<string, Buffer>): Promise<void> {
  const head = JSON.stringify([...blobs].map(([name, { length }]) => [name, length]));
  const bytes = Buffer.concat([Buffer.from(`${head}\n`), ...blobs.values()]);
  return writeFileAtomically(file, bytes, { mode: 0o600 });
}

/** Reads a store; throws `work-missing` if the file or a part of it is gone. */
export async function readBlobs({ file, what, ending }: BlobStore): Promise<Map<string, Buffer>> {
  const blobs = new Map<string, Buffer>();
  try {
    const bytes = await readFile(file);
    let at = bytes.indexOf('\n') + 1;
    for (const [name, length] of contents.parse(JSON.parse(bytes.toString('utf8', 0, at)))) {
      blobs.set(name.includes('.') ? name : `${name}${ending}`, bytes.subarray(at, at + length));
      at += length;
    }
    if (at !== bytes.length) throw new RangeError(`${bytes.length} bytes instead of ${at}`);
    return blobs;
  } catch (error) {
    throw workMissing(
      `${file}: the ${what} of the request are ${hasCode(error, 'ENOENT') ? 'gone' : 'damaged'}`,
      error,
    );
  }
}

/** What a store holds under a name; throws `work-missing` if it holds nothing. */
export function blobOf({ what }: BlobStore, blobs: ReadonlyMap<string, Buffer>, name: string): Buffer {
  const blob = blobs.get(name);
  if (blob) return blob;
  throw workMissing(`the ${what} of the request have none with the name ${name}`);
}

/** Those that are asked for, by name; the store is not read if none is. */
export async function pickBlobs(
  store: BlobStore,
  wanted: readonly string[],
): Promise<ReadonlyMap<string, Buffer>> {
  const blobs = wanted.length > 0 ? await readBlobs(store) : new Map<string, Buffer>();
  return new Map(wanted.map((name) => [name, blobOf(store, blobs, name)]));
}

const workMissing = (message: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'work-missing', message, {
    hint: 'its file is delivered, but its receipt cannot be written: restore the state folder, or move its journal.json away: the request is then answered again',
    cause,
  });
