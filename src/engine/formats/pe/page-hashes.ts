import { invalid } from '../../../lib/errors.ts';
import { DIGEST_BYTES, mappedRanges, PAGE, PageHasher, pagesOf, type PageSource } from './pages.ts';

/** The longest table that is written, in bytes: that of a program of 900 MB. A certificate table holds at most 16 MiB. */
const MAX_WRITTEN = 8 * 1024 * 1024;

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
