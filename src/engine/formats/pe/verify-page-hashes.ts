import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import { invalid } from '../../../lib/errors.ts';
import type { PageHashTable } from './image-data.ts';
import { DIGEST_BYTES, mappedRanges, PAGE, PageHasher, pagesOf, type PageSource } from './pages.ts';

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
 * | `page-hashes-malformed`  | not a table of entries in ascending order with a last one of zeros, |
 * |                          | or more entries than there are pages                                |
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
  requireBounded(entries.length - 1 - ownEnds.size, file.layout.bodyEnd, what);
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

/** Each entry costs the hash of a whole page: those of other bytes than sections may be no more than the file has pages. */
function requireBounded(others: number, bodyEnd: number, what: string): void {
  if (others > Math.ceil(bodyEnd / PAGE))
    throw invalid(
      'page-hashes-malformed',
      `${what}: its page hashes are ${others} more than its headers and sections have pages`,
      SIGN_AGAIN,
    );
}
