import { invalid } from '../../../lib/errors.ts';
import type { PeLayout } from './pe-layout.ts';
import { DIGEST_BYTES, mappedRanges, PAGE, PageHasher, pagesOf, type PageSource } from './pages.ts';

/** The longest table that is written, in bytes: that of a program of 900 MB. A certificate table holds at most 16 MiB. */
const MAX_WRITTEN = 8 * 1024 * 1024;

/** Sections begin at a multiple of this in the file, in bytes: the loader ignores the lower bits of where they begin. */
const SECTOR = 512;

const pagesIn = (size: number): number => Math.ceil(size / PAGE);

/** What about a layout makes it unknown what signtool would write; null if nothing does. */
function unprovenIn(layout: PeLayout): string | null {
  const { sectionAlignment, sizeOfHeaders, headersEnd, sections } = layout;
  if (sectionAlignment !== PAGE)
    return `its sections are aligned to ${sectionAlignment} bytes in memory, not ${PAGE}`;
  if (sizeOfHeaders > PAGE || sizeOfHeaders < headersEnd)
    return `its headers claim ${sizeOfHeaders} bytes, and must fit a page of ${PAGE}`;
  let before = sizeOfHeaders;
  for (const { name, start, end, virtualSize } of sections) {
    if (start < before)
      return `its section ${name} does not follow what comes before it in the section table`;
    if (start % SECTOR !== 0) return `its section ${name} begins at byte ${start}, no multiple of ${SECTOR}`;
    if (pagesIn(end - start) > pagesIn(virtualSize))
      return `its section ${name} has ${end - start} bytes in the file, and only ${virtualSize} in memory`;
    before = end;
  }
  return null;
}

/**
 * Requires the layout of which it is known what signtool writes: pages of 4096 bytes, headers that fit one, and sections
 * that follow each other in the file, are aligned there, and are mapped as a whole.
 */
function requireProvenLayout({ source: { name }, layout }: PageSource): void {
  const why = unprovenIn(layout);
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
