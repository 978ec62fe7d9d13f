/**
 * Entries whose sizes follow their data. A reader that streams determines by itself where such an entry ends: by the
 * end of its deflate stream or, if it is stored, by what looks like its descriptor. If that comes before the end
 * according to the directory, what follows can be an entry that only such a reader sees.
 */
import { invalid, isInvalid } from '../errors.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { content } from './read-entry.ts';
import type { ArchiveEntry } from './local-headers.ts';
import { shown } from './entry-paths.ts';
import { METHOD } from './header-fields.ts';

/** Read at a time, in bytes. */
const STEP = 256 * 1024;
const LONGEST_DESCRIPTOR = 24;

const LOCAL_MARK = Buffer.from('PK\x03\x04', 'latin1');
const DESCRIPTOR_MARK = Buffer.from('PK\x07\x08', 'latin1');

/**
 * Refuses an entry with a data descriptor if a reader could find another entry in its data. Data without the signature
 * of a local header is only searched, which is quick; other data is inflated.
 */
export async function requireNoEarlyEnd(source: ByteSource, entry: ArchiveEntry): Promise<void> {
  if (!entry.descriptor || !(await holds(source, entry, LOCAL_MARK))) return;
  const ends =
    entry.method === METHOD.stored
      ? await holds(source, entry, DESCRIPTOR_MARK, isDescriptorAt)
      : entry.method !== METHOD.deflated || !(await isWhole(source, entry));
  if (!ends) return;
  throw invalid(
    'zip-entry-unlisted',
    `${source.name}: entry ${shown(entry.path)}: in its data is an entry that the directory lacks`,
    { hint: 'pack the files again; if a zip is stored in this one, write it with its size in front' },
  );
}

/** Whether a mark is somewhere in an entry's data and `accept` returns true for the bytes from the mark on. */
async function holds(
  source: ByteSource,
  { dataStart, dataEnd }: ArchiveEntry,
  mark: Buffer,
  accept: (bytes: Buffer, at: number) => boolean = () => true,
): Promise<boolean> {
  for (let start = dataStart; start < dataEnd; start += STEP) {
    const bytes = await source.read(start, Math.min(STEP + LONGEST_DESCRIPTOR - 1, dataEnd - start));
    for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 1))
      if (accept(bytes.subarray(at), start + at - dataStart)) return true;
  }
  return false;
}

/** Whether bytes are a descriptor of the `size` stored bytes before them. */
function isDescriptorAt(bytes: Buffer, size: number): boolean {
  const narrow = (at: number): boolean => bytes.length >= at + 4 && bytes.readUInt32LE(at) === size % 2 ** 32;
  return narrow(8) && (narrow(12) || narrow(16));
}

/** Whether the data is one deflate stream to its end. */
async function isWhole(source: ByteSource, entry: ArchiveEntry): Promise<boolean> {
  try {
    for await (const _ of content(source, entry)) continue;
    return true;
  } catch (error) {
    if (isInvalid(error)) return false;
    throw error;
  }
}
