/**
 * Finds the signed ones among the scripts of a zip, which may be thousands: only for speed. Without it each would be
 * unpacked and opened, to be reported as unsigned.
 */
import type { Archive } from '../../lib/zip/read-zip.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import { formatByName, HEAD_SIZE } from '../formats/recognize.ts';

/** No signature with a certificate is smaller, in bytes, nor does it compress well. */
const SMALLEST_SIGNATURE = 300;

/** Entries up to this size are read as a whole for their head, which then costs nothing more. In bytes. */
const WHOLE = 64 * 1024;

/** How many bytes of an entry to read at first: more than of others if its name may be that of a script. */
export const headSizeOf = (entry: Pick<ArchiveEntry, 'path' | 'size'>): number =>
  entry.size <= WHOLE && formatByName(entry.path) ? Math.max(HEAD_SIZE, entry.size) : HEAD_SIZE;

/** Whether a script holds a mark of a signature; `head` are its first `headSizeOf` bytes. */
export async function mayBeSignedScript(
  archive: Archive,
  entry: ArchiveEntry,
  head: Buffer,
): Promise<boolean> {
  const marks = formatByName(entry.path)?.signatureMarks?.(entry.path);
  if (!marks || entry.compressedSize < SMALLEST_SIGNATURE) return false;
  if (head.length === entry.size) return marks.some((mark) => head.includes(mark));
  return holdsAny(await archive.open(entry), marks);
}

async function holdsAny(content: AsyncIterable<Buffer>, marks: readonly Buffer[]): Promise<boolean> {
  const overlap = Math.max(...marks.map(({ length }) => length)) - 1;
  let before: Buffer = Buffer.alloc(0);
  for await (const chunk of content) {
    const bytes = Buffer.concat([before, chunk]);
    if (marks.some((mark) => bytes.includes(mark))) return true;
    before = bytes.subarray(-overlap);
  }
  return false;
}
