import { chunks, type ByteSource } from './source.ts';

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

/** The length of the patched result, in bytes. */
export function patchedSize(patch: Patch): number {
  return patch.segments.reduce((sum, s) => sum + (s.kind === 'copy' ? s.end - s.start : s.bytes.length), 0);
}

/** The patched result as a stream of chunks. */
export async function* patched(patch: Patch): AsyncGenerator<Buffer> {
  for (const segment of patch.segments) {
    if (segment.kind === 'bytes') yield segment.bytes;
    else yield* chunks(patch.source, segment.start, segment.end);
  }
}

interface Placed {
  readonly at: number;
  readonly length: number;
  readonly segment: CopySegment | BytesSegment;
}

/** The patched result as a source of its own, so that what was made can be verified before it is written. */
export class PatchedSource implements ByteSource {
  readonly size: number;
  private readonly placed: readonly Placed[];

  constructor(
    private readonly patch: Patch,
    readonly name: string = patch.source.name,
  ) {
    const placed: Placed[] = [];
    let at = 0;
    for (const segment of patch.segments) {
      const length = segment.kind === 'copy' ? segment.end - segment.start : segment.bytes.length;
      placed.push({ at, length, segment });
      at += length;
    }
    this.size = at;
    this.placed = placed;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (const { at, length: size, segment } of this.placed) {
      const from = Math.max(offset, at) - at;
      const to = Math.min(offset + length, at + size) - at;
      if (from >= to) continue;
      if (segment.kind === 'bytes') parts.push(segment.bytes.subarray(from, to));
      else parts.push(await this.patch.source.read(segment.start + from, to - from));
    }
    const result = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
    if (result.length !== length || offset < 0)
      throw new RangeError(`${this.name}: read outside the patched result`);
    return result;
  }
}
