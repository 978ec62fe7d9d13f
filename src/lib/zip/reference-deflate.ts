import { Deflate } from 'pako';

/** Z_SYNC_FLUSH of zlib.h. */
const SYNC_FLUSH = 2;

interface ReferenceOptions {
  /** Whether to flush before the end, so that the stream ends with an empty stored block and an empty last one. */
  readonly flushed: boolean;
}

/**
 * Deflates bytes as zlib 1.2 and 1.3 themselves do with their defaults (level 6), on every machine. Node's own zlib is
 * Chromium's, whose other hash function finds other matches, and distributions build Node with yet others. For small
 * content that has to have the same bytes everywhere: it takes ten times as long.
 */
export function referenceDeflate(content: Buffer, { flushed }: ReferenceOptions): Buffer {
  const deflate = new Deflate({ raw: true, level: 6, windowBits: 15, memLevel: 8 });
  if (flushed) deflate.push(content, SYNC_FLUSH);
  deflate.push(flushed ? new Uint8Array(0) : content, true);
  return Buffer.from(deflate.result);
}
