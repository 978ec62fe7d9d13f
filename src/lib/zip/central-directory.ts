import { fromRandomAccessReaderPromise, RandomAccessReader, type Entry } from 'yauzl';
import { invalid, messageOf, SignpipeError } from '../errors.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { wideEnd, type EndRecords } from './end-of-central-directory.ts';
import { limitHint } from './limits.ts';
import { entryName } from './entry-names.ts';
import { shown, type EntryName } from './entry-paths.ts';
import {
  CENTRAL,
  CENTRAL_SIGNATURE,
  FLAG,
  headerLength,
  MAX16,
  METHOD,
  nameOf,
  readValues,
} from './header-fields.ts';

/** An entry of the central directory. Sizes in bytes. */
export interface CentralEntry extends EntryName {
  /** Position in the central directory, from 0. */
  readonly index: number;
  readonly size: number;
  readonly compressedSize: number;
  /** APPNOTE 4.4.5: 0 stored, 8 deflated, others pass through. */
  readonly method: number;
  readonly flags: number;
  readonly crc32: number;
  readonly directory: boolean;
  /** A symbolic link to some unpackers, whatever host the entry claims; copied as it is, never opened. */
  readonly symlink: boolean;
  /** Offset of the local header. */
  readonly offset: number;
  /** The central header's bytes, name, extra fields and comment included. */
  readonly central: Buffer;
}

/** Largest central directory that is read into memory, in bytes: a million entries of the usual size. */
const LARGEST_DIRECTORY = 256 * 1024 * 1024;

/** Unix file types, in the upper half of an entry's attributes. */
const FILE_TYPE = 0o170000;
const SYMLINK = 0o120000;

/** Passes the directory and end records to yauzl, since they have been read from the file already. */
class DirectoryReader extends RandomAccessReader {
  readonly size: number;
  private readonly end: Buffer;

  constructor(
    private readonly directory: Buffer,
    private readonly start: number,
    count: number,
  ) {
    super();
    this.end = wideEnd(count, start, directory.length);
    this.size = start + directory.length + this.end.length;
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null, bytesRead?: number) => void,
  ): void {
    const at = position - this.start;
    const into = buffer.subarray(offset, offset + length).fill(0);
    const { directory, end } = this;
    if (at >= 0 && at < directory.length) directory.copy(into, 0, at, at + length);
    const before = at < 0 ? Math.min(-at, length) : 0;
    if (before > 0) directory.copy(into, before, 0, length - before);
    const endAt = directory.length - at;
    if (endAt < length) end.copy(into, Math.max(0, endAt), Math.max(0, -endAt));
    callback(null, length);
  }

  override close(callback: (error: Error | null) => void): void {
    callback(null);
  }
}

/**
 * Reads the central directory with yauzl, in one read of the source, and checks every entry: nothing encrypted, nothing
 * on other disks, names safe to unpack.
 */
export async function readDirectory(
  source: ByteSource,
  end: EndRecords,
  most: number,
): Promise<CentralEntry[]> {
  if (end.directorySize > LARGEST_DIRECTORY)
    throw invalid('zip-too-many-entries', `${source.name}: a directory of ${end.directorySize} bytes`);
  const directory = await source.read(end.directoryOffset, end.directorySize);
  requireUnencrypted(directory, source);
  const count = numberOfEntries(directory, end);
  if (count > most)
    throw invalid('zip-too-many-entries', `${source.name}: ${count} entries; ${most} allowed`, {
      hint: limitHint('entries'),
    });
  const entries: CentralEntry[] = [];
  let at = 0;
  for await (const entry of entriesOf(new DirectoryReader(directory, end.directoryOffset, count), source)) {
    const header = directory.subarray(at);
    const length = headerLength(header, CENTRAL);
    if (length > header.length) throw damaged(source, 'an entry runs past its end');
    entries.push(centralEntry(entry, header.subarray(0, length), entries.length, source));
    at += length;
  }
  if (at !== directory.length || entries.length !== count)
    throw damaged(source, `${directory.length - at} bytes of it belong to no entry`);
  return entries;
}

/** The number in the end record, or the real one if its upper bits did not fit there and zip64 is not used. */
function numberOfEntries(directory: Buffer, { count, zip64 }: EndRecords): number {
  if (zip64) return count;
  let [found, at] = [0, 0];
  while (at + CENTRAL.size <= directory.length && directory.readUInt32LE(at) === CENTRAL_SIGNATURE) {
    at += headerLength(directory.subarray(at), CENTRAL);
    found++;
  }
  return at === directory.length && found > MAX16 && found % (MAX16 + 1) === count ? found : count;
}

/** Finds encrypted entries first: yauzl refuses some with a message of its own and accepts others. */
function requireUnencrypted(directory: Buffer, source: ByteSource): void {
  for (let at = 0; at + CENTRAL.size <= directory.length;) {
    const header = directory.subarray(at);
    const hidden = header.readUInt16LE(CENTRAL.flags) & (FLAG.encrypted | FLAG.strong | FLAG.masked);
    if (hidden || header.readUInt16LE(CENTRAL.method) === METHOD.aes)
      throw invalid(
        'zip-entry-encrypted',
        `${source.name}: entry ${shown(nameOf(header, CENTRAL).toString('latin1'))} is encrypted`,
        { hint: 'send the zip unencrypted: the exchange is reached through SSH' },
      );
    at += headerLength(header, CENTRAL);
  }
}

const damaged = (source: ByteSource, why: string, cause?: unknown): SignpipeError =>
  invalid('zip-directory-damaged', `${source.name}: its directory is damaged: ${why}`, { cause });

/** The entries of yauzl, with its errors replaced by ours. */
async function* entriesOf(reader: DirectoryReader, source: ByteSource): AsyncGenerator<Entry> {
  const options = { lazyEntries: true, decodeStrings: false, autoClose: false };
  try {
    const zip = await fromRandomAccessReaderPromise(reader, reader.size, options);
    yield* zip.eachEntry();
  } catch (error) {
    throw error instanceof SignpipeError ? error : damaged(source, messageOf(error), error);
  }
}

function centralEntry(entry: Entry, central: Buffer, index: number, source: ByteSource): CentralEntry {
  const flags = entry.generalPurposeBitFlag;
  const where = (): string => `${source.name}: entry ${index + 1}`;
  const { path, otherPaths } = entryName(flags, entry.fileNameRaw, entry.extraFieldRaw, where);
  const method = entry.compressionMethod;
  const disk = central.readUInt16LE(34);
  if (disk !== 0 && disk !== MAX16)
    throw invalid('zip-multi-disk', `${where()} (${shown(path)}) lies in another part of a split zip`);
  // Readers differ about a marked field without its 64-bit value, and about two zip64 fields.
  const { crc32, size, compressedSize, offset } = readValues(
    central,
    CENTRAL,
    () => `${where()} (${shown(path)})`,
  );
  // Some readers take it for a folder, some for a file.
  if (path.endsWith('/') && size > 0)
    throw invalid('zip-entry-path-unsafe', `${where()} (${shown(path)}) is a folder, but has content`);
  if (size !== entry.uncompressedSize || offset !== entry.relativeOffsetOfLocalHeader)
    throw damaged(source, `${shown(path)} has more than one size or place`);
  return {
    index,
    path,
    otherPaths,
    size,
    compressedSize,
    method,
    flags,
    crc32,
    directory: path.endsWith('/'),
    symlink: ((entry.externalFileAttributes >>> 16) & FILE_TYPE) === SYMLINK,
    offset,
    central,
  };
}
