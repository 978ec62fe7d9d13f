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
    this.requireInside(offset, length);
    const within = this.placed.find((each) => offset >= each.at && offset + length <= each.at + each.length);
    if (within?.segment.kind === 'bytes')
      return within.segment.bytes.subarray(offset - within.at, offset - within.at + length);
    if (within?.segment.kind === 'copy')
      return this.patch.source.read(within.segment.start + offset - within.at, length);
    const result = Buffer.allocUnsafe(length);
    await this.readInto(result, offset);
    return result;
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    this.requireInside(offset, target.length);
    for (const { at, length, segment } of this.placed) {
      const from = Math.max(offset, at);
      const to = Math.min(offset + target.length, at + length);
      if (from >= to) continue;
      const part = target.subarray(from - offset, to - offset);
      if (segment.kind === 'bytes') segment.bytes.copy(part, 0, from - at, to - at);
      else await this.copyInto(part, segment.start + from - at);
    }
  }

  private async copyInto(target: Buffer, offset: number): Promise<void> {
    const { source } = this.patch;
    if (source.readInto) await source.readInto(target, offset);
    else (await source.read(offset, target.length)).copy(target);
  }

  private requireInside(offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.size)
      throw new RangeError(`${this.name}: read outside the patched result`);
  }
}
