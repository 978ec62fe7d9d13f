import type { FileHandle } from 'node:fs/promises';
import type { ByteRange } from './byte-range.ts';
import { BufferSource, type ByteSource } from './byte-source.ts';
import { ConcatenatedSource } from './concatenated-source.ts';
import { DeltaBuilder, placeSpans, type Delta } from './delta.ts';
import { readTransientChunks } from './read-chunks.ts';
import { unpooled, writeFully } from './read-write-fully.ts';

/** The new file that a delta describes, read from the old file and the new bytes. Throws `assembly-unsound`. */
export class PatchedSource extends ConcatenatedSource {
  constructor(
    readonly source: ByteSource,
    readonly delta: Delta,
    /** The new bytes. */
    readonly fresh: ByteSource,
    name: string = source.name,
  ) {
    const spans = placeSpans(delta, { source: source.size, fresh: fresh.size });
    super(
      spans.map(({ from, start, end }) => ({ source: from === 'source' ? source : fresh, start, end })),
      name,
    );
  }

  /** A new file from ranges of `source` and from new bytes, which are copied into one buffer. */
  static of(source: ByteSource, pieces: readonly (ByteRange | Buffer)[]): PatchedSource {
    const builder = new DeltaBuilder();
    for (const piece of pieces)
      if (Buffer.isBuffer(piece)) builder.insert(piece.length);
      else builder.copy(piece);
    const fresh = unpooled(...pieces.filter((piece) => Buffer.isBuffer(piece)));
    return new PatchedSource(source, builder.delta, new BufferSource(fresh, source.name));
  }
}

/**
 * Turns `file`, a copy of the old file, into the new one. Only for speed: writes what differs, which in a signed
 * program is some header fields and the bytes after its end.
 */
export async function patchInPlace(file: FileHandle, { source, delta, fresh }: PatchedSource): Promise<void> {
  let at = 0;
  for (const { from, start, end } of delta.spans) {
    if (from === 'source' && start === at) at = end;
    else
      for await (const chunk of readTransientChunks(from === 'source' ? source : fresh, start, end)) {
        await writeFully(file, chunk, at);
        at += chunk.length;
      }
  }
  await file.truncate(at);
}
