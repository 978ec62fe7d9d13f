import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { hasCode, SignpipeError } from '../../lib/errors.ts';
import { writeFileAtomically } from '../../lib/bytes/atomic-file.ts';

/** The file in the state folder with every detached signature made for the current request. */
export const signaturesFile = (state: string): string => join(state, 'journal.signatures');

/** The SHA-256 of each unsigned program, and the length of its signature in bytes. */
const contents = z.array(z.tuple([z.string().regex(/^[0-9a-f]{64}$/), z.int().nonnegative()]));

/**
 * Writes detached signatures, by the SHA-256 of the unsigned program, into the state folder. They are in one file only
 * for speed: a thousand files would be flushed a thousand times.
 */
export function writeSignatures(state: string, signatures: ReadonlyMap<string, Buffer>): Promise<void> {
  const head = JSON.stringify([...signatures].map(([sha256, { length }]) => [sha256, length]));
  const bytes = Buffer.concat([Buffer.from(`${head}\n`), ...signatures.values()]);
  return writeFileAtomically(signaturesFile(state), bytes, { mode: 0o600 });
}

/** Reads the signatures; throws `work-missing` if the file or a part of it is gone. */
export async function readSignatures(state: string): Promise<Map<string, Buffer>> {
  const path = signaturesFile(state);
  const signatures = new Map<string, Buffer>();
  try {
    const bytes = await readFile(path);
    let at = bytes.indexOf('\n') + 1;
    for (const [sha256, length] of contents.parse(JSON.parse(bytes.toString('utf8', 0, at)))) {
      signatures.set(sha256, bytes.subarray(at, at + length));
      at += length;
    }
    if (at !== bytes.length) throw new RangeError(`${bytes.length} bytes instead of ${at}`);
    return signatures;
  } catch (error) {
    throw workMissing(
      `${path}: the signatures of the current request are ${hasCode(error, 'ENOENT') ? 'gone' : 'damaged'}`,
      error,
    );
  }
}

/** The signature of a program; throws `work-missing` if there is none. */
export function signatureOf(signatures: ReadonlyMap<string, Buffer>, sha256: string): Buffer {
  const signature = signatures.get(sha256);
  if (signature) return signature;
  throw workMissing(`the signature of the program with SHA-256 ${sha256} is gone`);
}

const workMissing = (message: string, cause?: unknown): SignpipeError =>
  new SignpipeError('local', 'work-missing', message, {
    hint: 'its file is delivered, but its receipt cannot be written: restore the state folder, or move its journal.json away: the request is then answered again',
    cause,
  });
