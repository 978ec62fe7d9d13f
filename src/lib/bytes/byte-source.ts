import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { hasCode, messageOf, SignpipeError, usage } from '../errors.ts';
import { readFully } from './read-write-fully.ts';
import { truncated, type Extent } from './extents.ts';

/**
 * Random-access bytes: a file, a buffer, a range of either, a patched file or a file on the exchange. Formats read
 * through this interface and never learn where the bytes are.
 */
export interface ByteSource {
  /** Total length in bytes. */
  readonly size: number;
  /** For messages: a path, or `build.zip!/bin/a.exe`. */
  readonly name: string;
  /** Exactly `length` bytes from `offset`; throws `source-out-of-range` if the source does not have them all. */
  read(offset: number, length: number): Promise<Buffer>;
  /** Fills a buffer supplied by the caller. Optional: implement it only if it avoids a copy. */
  readInto?(target: Buffer, offset: number): Promise<void>;
  /** Where the bytes [start, end) are, so that another thread can read them; null if only this thread can. */
  extents?(start: number, end: number): Extent[] | null;
}

/** The whole source in memory; refuses more than `limit` bytes. */
export async function readAll(source: ByteSource, limit: number): Promise<Buffer> {
  if (source.size > limit)
    throw new SignpipeError(
      'invalid',
      'source-too-large',
      `${source.name}: ${source.size} bytes, more than the ${limit} allowed here`,
    );
  return source.read(0, source.size);
}

function requireRange(source: ByteSource, offset: number, length: number): void {
  if (
    !Number.isSafeInteger(offset) ||
    !Number.isSafeInteger(length) ||
    offset < 0 ||
    length < 0 ||
    offset + length > source.size
  )
    throw new SignpipeError(
      'invalid',
      'source-out-of-range',
      `${source.name}: bytes ${offset} to ${offset + length} lie outside its ${source.size} bytes`,
    );
}

/** Bytes in memory. */
export class BufferSource implements ByteSource {
  readonly size: number;
  constructor(
    readonly bytes: Buffer,
    readonly name: string,
  ) {
    this.size = bytes.length;
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async read(offset: number, length: number): Promise<Buffer> {
    requireRange(this, offset, length);
    return this.bytes.subarray(offset, offset + length);
  }

  extents(start: number, end: number): Extent[] {
    requireRange(this, start, end - start);
    return start < end ? [{ bytes: this.bytes.subarray(start, end) }] : [];
  }
}

/** Without O_NONBLOCK, opening a named pipe waits until another process writes to it. */
const READ_WITHOUT_WAITING = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

const notAFile = (name: string): SignpipeError =>
  usage('not-a-file', `${name}: not a regular file`, {
    hint: 'a folder, a pipe or a device cannot be read at an offset: copy its content into a file first',
  });

/** A file opened for reading. Its size is read once: if the file shrinks later, a read fails. */
export class FileSource implements ByteSource {
  private constructor(
    private readonly handle: FileHandle,
    readonly size: number,
    readonly name: string,
  ) {}

  /** Opens `path`; throws `file-not-found`, `not-a-file` or `file-unreadable` (usage: a person named the file). */
  static async open(path: string, name = path): Promise<FileSource> {
    let handle: FileHandle;
    try {
      handle = await open(path, READ_WITHOUT_WAITING);
    } catch (error) {
      // A socket cannot be opened at all.
      if (hasCode(error, 'ENXIO')) throw notAFile(name);
      if (hasCode(error, 'ENOENT')) throw usage('file-not-found', `${name}: no such file`, { cause: error });
      throw usage('file-unreadable', `${name}: cannot be read: ${messageOf(error)}`, { cause: error });
    }
    const stat = await handle.stat();
    if (stat.isFile()) return new FileSource(handle, stat.size, name);
    await handle.close();
    throw notAFile(name);
  }

  async read(offset: number, length: number): Promise<Buffer> {
    requireRange(this, offset, length);
    const buffer = Buffer.allocUnsafe(length);
    await this.readInto(buffer, offset);
    return buffer;
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    requireRange(this, offset, target.length);
    if (!(await readFully(this.handle, target, offset))) throw truncated(this.name);
  }

  extents(start: number, end: number): Extent[] {
    requireRange(this, start, end - start);
    return start < end ? [{ fd: this.handle.fd, start, end, name: this.name }] : [];
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/**
 * The content of a file or a pipe, such as the shell's `<(…)`, read once from start to end; null if it has more than
 * `limit` bytes. Throws `not-a-file` for folders and devices, and the system's own errors.
 */
export async function readOnce(path: string, limit: number): Promise<Buffer | null> {
  const stats = await stat(path);
  if (!stats.isFile() && !stats.isFIFO()) throw notAFile(path);
  const handle = await open(path, 'r');
  try {
    const chunks: Buffer[] = [];
    for (let size = 0; size <= limit;) {
      const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(64 * 1024));
      if (bytesRead === 0) return Buffer.concat(chunks);
      chunks.push(buffer.subarray(0, bytesRead));
      size += bytesRead;
    }
    return null;
  } finally {
    await handle.close();
  }
}

/** Files of at most this size are read whole if all of their bytes are needed: many small reads take longer. */
export const SMALL_FILE = 1024 * 1024;

/** The file itself, or its content if it is small: later changes to a small file are then not seen. */
export const inMemoryIfSmall = async (file: ByteSource): Promise<ByteSource> =>
  file.size > SMALL_FILE ? file : new BufferSource(await file.read(0, file.size), file.name);

/** Opens a file, passes it to `use`, and closes it in any case. */
export async function withFile<T>(
  path: string,
  use: (file: FileSource) => Promise<T>,
  name = path,
): Promise<T> {
  const file = await FileSource.open(path, name);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
