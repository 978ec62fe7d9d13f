import { createHash, randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { invalid } from '../../lib/errors.ts';
import { DeflateBlockScanner, type DeflateBlocks } from '../../lib/zip/deflate-block-scanner.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import type { PartialArchive } from '../../lib/zip/read-zip.ts';
import { METHOD } from '../../lib/zip/header-fields.ts';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import type { NewContent } from '../../lib/zip/rewrite-zip.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { Extent } from '../../lib/bytes/extents.ts';
import { BufferSource, FileSource, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { ReadAheadSource } from '../../lib/bytes/read-ahead-source.ts';
import { noteTemporary, removeTemporary } from '../../lib/bytes/temp-files.ts';

/** An unpacked program, and its SHA-256 in lower-case hex. */
export interface UnpackedProgram {
  readonly source: ByteSource;
  readonly sha256: string;
  /** The blocks of its compressed data, if they may be reused. */
  readonly blocks?: DeflateBlocks | null;
}

/** The new content of an entry, and what it has in common with the old. */
export const newContent = (
  source: ByteSource,
  unchanged: ByteRange,
  blocks: DeflateBlocks | null | undefined,
): NewContent => (blocks ? { source, reuse: { blocks, unchanged } } : { source });

/** Compressed data smaller than this, in bytes, is not reused: compressing it again is quick. */
const WORTH_REUSING = 1024 * 1024;

/** How much all entries in memory may take together, in bytes. */
const MEMORY = 96 * 1024 * 1024;

/** Members of containers that are larger, in bytes, are held in files: containers may be signed with little memory. */
const LARGE_MEMBER = 16 * 1024 * 1024;

/** How much of an entry in a file stays in memory too, and of all of them together, in bytes. */
const HEAD = 4096;
const HEADS = 16 * 1024 * 1024;

/** Only for speed: a file whose first bytes are in memory, since headers are read in many small pieces. */
class HeadedSource extends ReadAheadSource {
  constructor(private readonly file: FileSource) {
    super(file, ({ end }) => (end <= HEAD ? [{ start: 0, end: Math.min(HEAD, file.size) }] : []));
  }

  readInto(target: Buffer, offset: number): Promise<void> {
    return this.file.readInto(target, offset);
  }

  extents(start: number, end: number): Extent[] {
    return this.file.extents(start, end);
  }
}

/** The content; throws `inside-size-differs` unless it has `size` bytes. */
async function* ofSize(content: AsyncIterable<Buffer>, size: number, name: string): AsyncGenerator<Buffer> {
  let left = size;
  for await (const chunk of content) {
    left -= chunk.length;
    if (left < 0) break;
    yield chunk;
  }
  if (left !== 0)
    throw invalid(
      'inside-size-differs',
      `${name}: does not have the ${size} bytes that its container states`,
    );
}

/** How much a spool holds. */
interface SpoolState {
  readonly files: number;
  readonly inMemory: number;
  readonly inHeads: number;
}

/**
 * Holds unpacked programs while they are signed: in memory up to a limit, the rest in files, which are gone when it is
 * closed. Memory stays bounded, however many programs a zip has.
 */
export class Spool {
  private readonly folder: string;
  private readonly files: { path: string; source: FileSource }[] = [];
  private inMemory = 0;
  private inHeads = 0;

  /** `folder` must exist. Other users can neither guess the names of the files in it nor read them. */
  constructor(folder: string) {
    this.folder = folder;
  }

  async unpack(archive: PartialArchive, entry: ArchiveEntry): Promise<UnpackedProgram> {
    const name = `${archive.source.name}!/${entry.path}`;
    const scanner =
      entry.method === METHOD.deflated && entry.compressedSize >= WORTH_REUSING
        ? new DeflateBlockScanner()
        : undefined;
    const program = await this.toMemoryOrFile(archive, entry, name, scanner);
    return scanner ? { ...program, blocks: scanner.finish() } : program;
  }

  private async toMemoryOrFile(
    archive: PartialArchive,
    entry: ArchiveEntry,
    name: string,
    scanner: DeflateBlockScanner | undefined,
  ): Promise<UnpackedProgram> {
    if (this.inMemory + entry.size > MEMORY) return this.toFile(await archive.open(entry, scanner), name);
    this.inMemory += entry.size;
    const bytes = await archive.read(entry, scanner);
    return { source: new BufferSource(bytes, name), sha256: sha256Hex(bytes) };
  }

  /** Holds content of `size` bytes, as a container says; throws `inside-size-differs` if there are others. */
  async keep(content: AsyncIterable<Buffer>, size: number, name: string): Promise<UnpackedProgram> {
    const counted = ofSize(content, size, name);
    if (size > LARGE_MEMBER || this.inMemory + size > MEMORY) return this.toFile(counted, name);
    this.inMemory += size;
    const bytes = Buffer.allocUnsafeSlow(size);
    let at = 0;
    for await (const chunk of counted) at += chunk.copy(bytes, at);
    return { source: new BufferSource(bytes, name), sha256: sha256Hex(bytes) };
  }

  /** A path in the folder for a file that is deleted with the others; `open` opens it once it is written. */
  newFile(): { readonly path: string; readonly open: (name: string) => Promise<FileSource> } {
    const path = join(this.folder, `${randomUUID()}.part`);
    noteTemporary(path);
    return {
      path,
      open: async (name) => {
        const source = await FileSource.open(path, name);
        this.files.push({ path, source });
        return source;
      },
    };
  }

  private async toFile(content: AsyncIterable<Buffer>, name: string): Promise<UnpackedProgram> {
    const { path, open: reopen } = this.newFile();
    const hash = createHash('sha256');
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const chunk of content) {
        hash.update(chunk);
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
    return { source: this.withHead(await reopen(name)), sha256: hash.digest('hex') };
  }

  private withHead(source: FileSource): ByteSource {
    if (this.inHeads + HEAD > HEADS) return source;
    this.inHeads += HEAD;
    return new HeadedSource(source);
  }

  /** What is held now. */
  get state(): SpoolState {
    return { files: this.files.length, inMemory: this.inMemory, inHeads: this.inHeads };
  }

  /** Lets go of everything that was unpacked since the spool had this state. */
  async returnTo({ files, inMemory, inHeads }: SpoolState): Promise<void> {
    for (const { path, source } of this.files.splice(files)) {
      await source.close();
      await removeTemporary(path);
    }
    this.inMemory = inMemory;
    this.inHeads = inHeads;
  }

  /** Closes and deletes every file. */
  close(): Promise<void> {
    return this.returnTo({ files: 0, inMemory: 0, inHeads: 0 });
  }
}
