import { createHash } from 'node:crypto';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { invalid } from '../../../lib/errors.ts';
import type { PageHashTable } from './image-data.ts';
import type { PeLayout } from './pe-layout.ts';

/*
 * Page hashes (signtool /ph): a hash of every page that Windows maps from the file, with which it can check a driver or a
 * protected process page by page. The table has an entry for each page, in the file's order: its offset in the file (32
 * bits, little-endian) and its hash; the last entry has the end of the last page's bytes and a hash of zeros.
 *
 * The pages are those of the headers (without CheckSum and certificate directory entry, as in the file's digest) and of
 * each section's bytes in the file; each hash is over 4096 bytes, those that the file lacks being zero. Found to hold for
 * drivers that were signed with signtool /ph, whose sections and headers are as `requireProvenLayout` asks. What lies
 * behind the sections has no page hashes: only the file's digest covers it.
 */

const PAGE = 4096;
const DIGEST_BYTES = { sha1: 20, sha256: 32 } as const;

/** The longest table that is written, in bytes: that of a program of 900 MB. A certificate table holds at most 16 MiB. */
const MAX_WRITTEN = 8 * 1024 * 1024;

/** A PE file, and what its digest covers. */
interface PageSource {
  readonly source: ByteSource;
  readonly layout: PeLayout;
  readonly covered: readonly ByteRange[];
}

/** The ranges whose pages are hashed, in the order of the section headers: the headers, then each section. */
const mappedRanges = ({ sizeOfHeaders, sections }: PeLayout): ByteRange[] => [
  { start: 0, end: sizeOfHeaders },
  ...sections,
];

function* pagesOf({ start, end }: ByteRange): Generator<ByteRange> {
  for (let at = start; at < end; at += PAGE) yield { start: at, end: Math.min(at + PAGE, end) };
}

/**
 * Requires the layout of which it is known what signtool writes: pages of 4096 bytes, headers that fit one, and sections
 * that follow each other in the file.
 */
function requireProvenLayout({ source: { name }, layout }: PageSource): void {
  const ranges = mappedRanges(layout);
  const inOrder = ranges.every(({ start }, at) => start >= (ranges[at - 1]?.end ?? 0));
  const why =
    layout.sectionAlignment !== PAGE
      ? `its sections are aligned to ${layout.sectionAlignment} bytes in memory, not ${PAGE}`
      : layout.sizeOfHeaders > PAGE || layout.sizeOfHeaders < layout.headersEnd
        ? `its headers claim ${layout.sizeOfHeaders} bytes, and must fit a page of ${PAGE}`
        : inOrder
          ? null
          : 'its sections do not follow each other in the file';
  if (why === null) return;
  throw invalid('page-hashes-layout', `${name}: no page hashes can be written for it: ${why}`, {
    hint: 'sign it without page hashes (signing.pageHashes): drivers and protected processes alone need them',
  });
}

/**
 * The table of SHA-256 page hashes of a file. Reads the file once. Throws `page-hashes-layout` and
 * `page-hashes-too-large`.
 */
export async function hashPages(file: PageSource): Promise<Buffer> {
  requireProvenLayout(file);
  const ranges = mappedRanges(file.layout);
  const count = ranges.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / PAGE), 1);
  const entrySize = 4 + DIGEST_BYTES.sha256;
  if (count * entrySize > MAX_WRITTEN)
    throw invalid('page-hashes-too-large', `${file.source.name}: it has ${count} pages to hash`, {
      hint: 'sign it without page hashes (signing.pageHashes)',
    });
  const table = Buffer.alloc(count * entrySize);
  const pages = new PageHasher(file, 'sha256');
  let at = 0;
  for (const range of ranges)
    for (const page of pagesOf(range)) {
      table.writeUInt32LE(page.start, at);
      (await pages.hash(page)).copy(table, at + 4);
      at += entrySize;
    }
  table.writeUInt32LE(ranges.at(-1)?.end ?? 0, at);
  return table;
}

/** Hashes pages of a file; reads ahead, since pages mostly come in the file's order. */
class PageHasher {
  private static readonly AHEAD = 256 * PAGE;
  private chunk: Buffer = Buffer.alloc(0);
  private chunkAt = 0;

  constructor(
    private readonly file: PageSource,
    private readonly algorithm: PageHashTable['hash'],
  ) {}

  /** The hash of at most 4096 bytes of the file, without the fields that no digest covers, and zeros up to a page. */
  async hash({ start, end }: ByteRange): Promise<Buffer> {
    const hash = createHash(this.algorithm);
    for (const range of this.file.covered) {
      const [from, to] = [Math.max(start, range.start), Math.min(end, range.end)];
      if (from < to) hash.update(await this.read(from, to));
    }
    return hash.update(Buffer.alloc(PAGE - (end - start))).digest();
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

interface Entry {
  readonly offset: number;
  readonly hash: Buffer;
}

const SIGN_AGAIN = {
  hint: 'Windows may refuse to load it although its digest is right: sign it again',
};

/**
 * Checks a table of page hashes against the file, whatever tool wrote it: entries in ascending order, each with the hash
 * of its page, which together cover the headers and every section. A page's bytes end with those of its section, or with
 * the next page: some tools differ in that, which matters only if there are other bytes than zeros between sections.
 *
 * | code                     | meaning                                                             |
 * | ------------------------ | ------------------------------------------------------------------- |
 * | `page-hashes-malformed`  | not a table of entries in ascending order with a last one of zeros  |
 * | `page-hashes-incomplete` | some page of the headers or a section has no entry                  |
 * | `page-hashes-differ`     | a hash is not that of the page                                      |
 */
export async function verifyPageHashes(
  file: PageSource,
  { hash, table }: PageHashTable,
  what: string,
): Promise<void> {
  const entries = readEntries(table, DIGEST_BYTES[hash], file.layout.bodyEnd, what);
  const ownEnds = requireComplete(entries, mappedRanges(file.layout), what);
  const pages = new PageHasher(file, hash);
  for (const [at, { offset, hash: expected }] of entries.slice(0, -1).entries()) {
    const next = Math.min(offset + PAGE, entries[at + 1]?.offset ?? 0, file.layout.bodyEnd);
    const ends = new Set([Math.min(next, ownEnds.get(offset) ?? next), next]);
    if (!(await matchesAny(pages, offset, ends, expected)))
      throw invalid(
        'page-hashes-differ',
        `${what}: the page at byte ${offset} does not have its page hash`,
        SIGN_AGAIN,
      );
  }
}

async function matchesAny(
  pages: PageHasher,
  start: number,
  ends: ReadonlySet<number>,
  expected: Buffer,
): Promise<boolean> {
  for (const end of ends) if ((await pages.hash({ start, end })).equals(expected)) return true;
  return false;
}

function readEntries(table: Buffer, digestBytes: number, bodyEnd: number, what: string): Entry[] {
  const size = 4 + digestBytes;
  if (table.length < size || table.length % size !== 0)
    throw invalid(
      'page-hashes-malformed',
      `${what}: a table of page hashes of ${table.length} bytes, with entries of ${size}`,
      SIGN_AGAIN,
    );
  const entries: Entry[] = [];
  for (let at = 0; at < table.length; at += size) {
    const [offset, hash] = [table.readUInt32LE(at), table.subarray(at + 4, at + size)];
    const before = entries.at(-1);
    const isLast = at + size === table.length;
    if ((before && offset <= before.offset) || (!isLast && offset >= bodyEnd))
      throw invalid(
        'page-hashes-malformed',
        `${what}: its page hashes are not in order: byte ${offset} of ${bodyEnd}`,
        SIGN_AGAIN,
      );
    entries.push({ offset, hash });
  }
  if (entries.at(-1)?.hash.some((byte) => byte !== 0))
    throw invalid(
      'page-hashes-malformed',
      `${what}: its page hashes do not end with an entry of zeros`,
      SIGN_AGAIN,
    );
  return entries;
}

/**
 * Requires that the entries are pages of all ranges; the last entry only says where the last page ends. Returns the end of
 * each page's bytes by its start. The number of entries bounds the work: sections that share bytes would have no end.
 */
function requireComplete(
  entries: readonly Entry[],
  ranges: readonly ByteRange[],
  what: string,
): ReadonlyMap<number, number> {
  const count = ranges.reduce((sum, { start, end }) => sum + Math.ceil((end - start) / PAGE), 0);
  if (count > entries.length - 1)
    throw invalid(
      'page-hashes-incomplete',
      `${what}: it has ${count} pages, and ${entries.length - 1} page hashes`,
      SIGN_AGAIN,
    );
  const starts = new Set(entries.slice(0, -1).map(({ offset }) => offset));
  const ends = new Map<number, number>();
  for (const { start, end } of ranges.flatMap((range) => [...pagesOf(range)])) {
    if (!starts.has(start))
      throw invalid(
        'page-hashes-incomplete',
        `${what}: the page at byte ${start} has no page hash`,
        SIGN_AGAIN,
      );
    ends.set(start, end);
  }
  const [last, end] = [
    entries.at(-1)?.offset ?? 0,
    ranges.reduce((most, range) => Math.max(most, range.end), 0),
  ];
  if (last < end)
    throw invalid(
      'page-hashes-incomplete',
      `${what}: its page hashes end at byte ${last}, its sections at ${end}`,
      SIGN_AGAIN,
    );
  return ends;
}
