import type { FileHandle } from 'node:fs/promises';
import { writeAll } from './read-write-fully.ts';
import { ConcatenatedSource, whole } from './concatenated-source.ts';
import { scan } from './read-chunks.ts';
import { BufferSource, chunks, type ByteSource } from './byte-source.ts';

/** A run of a source's bytes, taken over as it is. */
export interface CopySegment {
  readonly kind: 'copy';
  readonly start: number;
  readonly end: number;
}

/** New bytes. */
export interface BytesSegment {
  readonly kind: 'bytes';
  readonly bytes: Buffer;
}

/**
 * A new file described as spans of an old one and fresh bytes between them. Signing yields a patch
 * and never edits its input; whoever holds the patch decides where the result goes.
 */
export interface Patch {
  readonly source: ByteSource;
  readonly segments: readonly (CopySegment | BytesSegment)[];
}

export const copy = (start: number, end: number): CopySegment => ({ kind: 'copy', start, end });
export const bytes = (content: Buffer): BytesSegment => ({ kind: 'bytes', bytes: content });

/** The patched result as a stream of chunks. */
export async function* patched(patch: Patch): AsyncGenerator<Buffer> {
  for (const segment of patch.segments) {
    if (segment.kind === 'bytes') yield segment.bytes;
    else yield* chunks(patch.source, segment.start, segment.end);
  }
}

/** The patched result as a whole, where it is small. */
export async function patchedBytes(patch: Patch): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of patched(patch)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** The patched result as a source of its own, so that what was made can be verified before it is written. */
export class PatchedSource extends ConcatenatedSource {
  constructor({ source, segments }: Patch, name = source.name) {
    const parts = segments.map((segment) =>
      segment.kind === 'bytes' ? whole(new BufferSource(segment.bytes, name)) : { source, ...segment },
    );
    super(parts, name);
  }
}

/** The longest run of bytes that the result has in common with the source at the same place. */
export function keptRun({ segments }: Patch): { readonly start: number; readonly end: number } {
  let kept = { start: 0, end: 0 };
  let at = 0;
  for (const segment of segments) {
    const length = segment.kind === 'bytes' ? segment.bytes.length : segment.end - segment.start;
    if (segment.kind === 'copy' && segment.start === at && length > kept.end - kept.start)
      kept = { start: at, end: at + length };
    at += length;
  }
  return kept;
}

/**
 * Makes a file that holds what the patch's source holds into the patched result. Only what differs is
 * written: of a program that is signed, some fields of its headers and what follows its end.
 */
export async function patchCopy(file: FileHandle, { source, segments }: Patch): Promise<void> {
  let at = 0;
  for (const segment of segments) {
    if (segment.kind === 'bytes') at += await writeAt(file, segment.bytes, at);
    else if (segment.start === at) at = segment.end;
    else
      for await (const chunk of scan(source, segment.start, segment.end))
        at += await writeAt(file, chunk, at);
  }
  await file.truncate(at);
}

async function writeAt(file: FileHandle, bytes: Buffer, at: number): Promise<number> {
  await writeAll(file, bytes, at);
  return bytes.length;
}
