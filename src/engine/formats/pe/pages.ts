import { hash } from 'node:crypto';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { PageHashTable } from './image-data.ts';
import type { PeLayout } from './pe-layout.ts';

/*
 * Page hashes (signtool /ph): a hash of every page that Windows maps from the file, with which it can check a driver or a
 * protected process page by page. The table has an entry for each page, in the file's order: its offset in the file (32
 * bits, little-endian) and its hash; the last entry has the end of the last page's bytes and a hash of zeros.
 *
 * The pages are those of the headers (without CheckSum and certificate directory entry, as in the file's digest) and of
 * each section's bytes in the file; each hash is over 4096 bytes, those that the file lacks being zero. Found to hold for
 * drivers that were signed with signtool /ph, whose sections and headers are as `hashPages` asks. What lies
 * behind the sections has no page hashes: only the file's digest covers it.
 */

/** The size of a page, in bytes. */
export const PAGE = 4096;
export const DIGEST_BYTES = { sha1: 20, sha256: 32 } as const;

/** A PE file, and what its digest covers. */
export interface PageSource {
  readonly source: ByteSource;
  readonly layout: PeLayout;
  readonly covered: readonly ByteRange[];
}

/** The ranges whose pages are hashed, in the order of the section headers: the headers, then each section. */
export const mappedRanges = ({ sizeOfHeaders, sections }: PeLayout): ByteRange[] => [
  { start: 0, end: sizeOfHeaders },
  ...sections,
];

/** A range in steps of a page; the last one may be shorter. */
export function* pagesOf({ start, end }: ByteRange): Generator<ByteRange> {
  for (let at = start; at < end; at += PAGE) yield { start: at, end: Math.min(at + PAGE, end) };
}

/** Hashes pages of a file; reads ahead, since pages mostly come in the file's order. */
export class PageHasher {
  private static readonly AHEAD = 256 * PAGE;
  private chunk: Buffer = Buffer.alloc(0);
  private chunkAt = 0;

  constructor(
    private readonly file: PageSource,
    private readonly algorithm: PageHashTable['hash'],
  ) {}

  /** The hash of at most 4096 bytes of the file, without the fields that no digest covers, and zeros up to a page. */
  async hash({ start, end }: ByteRange): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for (const range of this.file.covered) {
      const [from, to] = [Math.max(start, range.start), Math.min(end, range.end)];
      if (from < to) pieces.push(await this.read(from, to));
    }
    if (end - start < PAGE) pieces.push(Buffer.alloc(PAGE - (end - start)));
    const [page = Buffer.alloc(0), ...more] = pieces;
    // A page in one piece is not copied.
    return hash(this.algorithm, more.length === 0 ? page : Buffer.concat(pieces), 'buffer');
  }

  private async read(start: number, end: number): Promise<Buffer> {
    if (start < this.chunkAt || end > this.chunkAt + this.chunk.length) {
      const { source, layout } = this.file;
      this.chunk = await source.read(start, Math.min(PageHasher.AHEAD, layout.bodyEnd - start));
      this.chunkAt = start;
    }
    return this.chunk.subarray(start - this.chunkAt, end - this.chunkAt);
  }
}
