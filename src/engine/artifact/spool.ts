import { createHash, randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { DeflateScanner, type DeflateMap } from '../../lib/zip/deflate-block-scanner.ts';
import type { ArchiveEntry, PartialArchive } from '../../lib/zip/read-zip.ts';
import { METHOD } from '../../lib/zip/header-fields.ts';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import type { Extent } from '../../lib/bytes/extents.ts';
import { BufferSource, FileSource, type ByteSource } from '../../lib/bytes/byte-source.ts';
import { noteTemporary, removeTemporary } from '../../lib/bytes/temp-files.ts';

/** Unpacked bytes that can be read at random, and their SHA-256 in hex. */
export interface Spooled {
  readonly source: ByteSource;
  readonly sha256: string;
  /** How it was packed, where that is worth knowing. */
  readonly map?: DeflateMap | null;
}

/** Of what was packed smaller than this, in bytes, nothing is reused. */
const WORTH_A_MAP = 1024 * 1024;

/** What all the entries in memory may take together, in bytes. */
const MEMORY = 96 * 1024 * 1024;

/** Of an entry in a file, this much stays in memory too, as long as there is room for it. */
const HEAD = 4096;
const HEADS = 16 * 1024 * 1024;

/** A file whose first bytes are in memory: headers are read in many small pieces, again and again. */
class HeadedSource implements ByteSource {
  readonly size: number;
  readonly name: string;

  constructor(
    private readonly file: FileSource,
    private readonly head: Buffer,
  ) {
    this.size = file.size;
    this.name = file.name;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (offset >= 0 && length >= 0 && offset + length <= this.head.length)
      return this.head.subarray(offset, offset + length);
    return this.file.read(offset, length);
  }

  readInto(target: Buffer, offset: number): Promise<void> {
    return this.file.readInto(target, offset);
  }

  extents(start: number, end: number): Extent[] {
    return this.file.extents(start, end);
  }
}

/**
 * Holds unpacked programs while they are signed: in memory as long as there is room, the rest in files
 * that are gone when it is closed. However many programs a zip has, memory stays bounded.
 */
export class Spool {
  private readonly folder: string;
  private readonly files: { path: string; source: FileSource }[] = [];
  private inMemory = 0;
  private inHeads = 0;

  /** `folder` must be there; nobody else guesses the names of what is put in it, nor can read it. */
  constructor(folder: string) {
    this.folder = folder;
  }

  /** Unpacks an entry. */
  async take(archive: PartialArchive, entry: ArchiveEntry): Promise<Spooled> {
    const name = `${archive.source.name}!/${entry.path}`;
    const scanner =
      entry.method === METHOD.deflated && entry.compressedSize >= WORTH_A_MAP
        ? new DeflateScanner()
        : undefined;
    const spooled = await this.takeIn(archive, entry, name, scanner);
    return scanner ? { ...spooled, map: scanner.finish() } : spooled;
  }

  private async takeIn(
    archive: PartialArchive,
    entry: ArchiveEntry,
    name: string,
    scanner: DeflateScanner | undefined,
  ): Promise<Spooled> {
    if (this.inMemory + entry.size > MEMORY) return this.toFile(await archive.open(entry, scanner), name);
    this.inMemory += entry.size;
    const bytes = await archive.read(entry, scanner);
    return { source: new BufferSource(bytes, name), sha256: sha256Hex(bytes) };
  }

  private async toFile(content: AsyncIterable<Buffer>, name: string): Promise<Spooled> {
    const path = join(this.folder, `${randomUUID()}.part`);
    const hash = createHash('sha256');
    noteTemporary(path);
    const file = await open(path, 'wx', 0o600);
    try {
      for await (const chunk of content) {
        hash.update(chunk);
        await file.writeFile(chunk);
      }
    } finally {
      await file.close();
    }
    const source = await FileSource.open(path, name);
    this.files.push({ path, source });
    return { source: await this.withHead(source), sha256: hash.digest('hex') };
  }

  private async withHead(source: FileSource): Promise<ByteSource> {
    if (this.inHeads + HEAD > HEADS) return source;
    this.inHeads += HEAD;
    return new HeadedSource(source, await source.read(0, Math.min(HEAD, source.size)));
  }

  /** Closes and deletes every file. */
  async close(): Promise<void> {
    for (const { path, source } of this.files.splice(0)) {
      await source.close();
      await removeTemporary(path);
    }
  }
}
