import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { invalid } from '../errors.ts';
import { AtomicFile, writeAtomically } from '../bytes/atomic-file.ts';
import { DeltaBuilder, type Delta } from '../bytes/delta.ts';
import { PatchedSource } from '../bytes/patched-source.ts';
import { ConcatenatedSource } from '../bytes/concatenated-source.ts';
import { BufferSource, withFile, type ByteSource } from '../bytes/byte-source.ts';
import { readTransientChunks } from '../bytes/read-chunks.ts';
import { writeFully } from '../bytes/read-write-fully.ts';
import { Semaphore } from '../concurrency/semaphore.ts';
import { settleAll } from '../concurrency/all-settled.ts';
import {
  updatedCentralHeader,
  updatedDescriptor,
  updatedLocalHeader,
  type ContentValues,
} from './updated-headers.ts';
import { deflateBlocks, type ContentToDeflate, type DeflatedBlock } from './deflate.ts';
import { endBytes, movedEnd } from './end-of-central-directory.ts';
import { shown } from './entry-paths.ts';
import { inOrder } from '../concurrency/in-order.ts';
import { NewBytesWriter } from './new-bytes-writer.ts';
import { requireOpenable, type PartialArchive } from './read-zip.ts';
import type { ArchiveEntry } from './local-headers.ts';
import { METHOD } from './header-fields.ts';
import { reuseDeflateBlocks, type Reuse, type ReusedStream } from './reuse-deflate-blocks.ts';

/** The new content of an entry; with `reuse`, as much of the old compressed data as possible is reused. */
export interface NewContent {
  readonly source: ByteSource;
  readonly reuse?: Reuse;
}

/** One entry with its new content. */
interface Replacement extends NewContent {
  readonly entry: ArchiveEntry;
}

/** Compressed content in the order of the file, produced a little ahead of its use. */
interface Compressed {
  readonly blocks: AsyncGenerator<DeflatedBlock>;
  readonly reused: AsyncGenerator<ReusedStream | null>;
}

/** Entries whose old compressed data is reused at the same time, each of which may take some megabytes; and checks. */
const REUSED_AT_ONCE = 2;

/** Where the new bytes of a planned zip go. */
export interface NewBytesFile {
  /** A file that appears whole and flushed to the disk, or not at all. */
  readonly path: string;
  /** Up to this many bytes stay in memory instead, and no file is made; 0 if not given. */
  readonly inMemory?: number;
  /** Only for `use`: the file never gets its name, and is gone afterwards. */
  readonly temporary?: boolean;
}

/** A zip with new content for some entries, as a delta to the zip that it was planned for. */
export interface RewritePlan<T> {
  readonly delta: Delta;
  /** The new bytes, if they are in memory; null if they are in their file. */
  readonly newBytes: Buffer | null;
  /** What `use` returned. */
  readonly used: T;
}

/**
 * Plans the zip with the content of some entries, by path, replaced. All else is taken over byte for byte: local
 * headers, data, descriptors and bytes between entries are ranges of the old file; a replaced entry keeps its
 * header except for CRC-32 and sizes, and its method; the directory keeps all but those and the offsets. Zip64
 * values appear where a number no longer fits. Only old compressed data that is reused is read from the archive.
 *
 * `use` is called with the delta and the new bytes while reused data is still being checked; if a check fails,
 * everything is compressed again, and `use` is called once more with the result.
 *
 * The same archive and the same content produce the same bytes. Memory stays flat whatever the sizes and the
 * number of replacements.
 */
export function planRewrite<T>(
  archive: PartialArchive,
  contents: ReadonlyMap<string, NewContent>,
  target: NewBytesFile,
  use: (delta: Delta, newBytes: ByteSource) => Promise<T>,
): Promise<RewritePlan<T>> {
  return withChecks(resolve(archive, contents), async (replacements, checks) => {
    const file = new AtomicFile(target.path);
    const writer = new NewBytesWriter(() => file.open(), target.inMemory ?? 0);
    try {
      const delta = await new RewritePlanner(archive, writer, checks).plan(replacements);
      const newBytes = await writer.finish();
      if (!newBytes && !target.temporary) await file.publish();
      const used = newBytes
        ? await use(delta, new BufferSource(newBytes, target.path))
        : await withFile(target.temporary ? file.temporary : target.path, (written) => use(delta, written));
      return { delta, newBytes, used };
    } finally {
      // Nothing is left of it, unless it was published.
      await file.discard();
    }
  });
}

/** New bytes that `rewriteZip` keeps in memory; more go to a file beside the output. */
const IN_MEMORY = 16 * 1024 * 1024;

interface RewrittenZip {
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** Plans as `planRewrite` does, and writes the resulting zip to `output`, which appears whole or not at all. */
export function rewriteZip(
  archive: PartialArchive,
  contents: ReadonlyMap<string, NewContent>,
  output: string,
): Promise<RewrittenZip> {
  return writeAtomically(output, async (file) => {
    const target = { path: output, inMemory: IN_MEMORY, temporary: true };
    const { used } = await planRewrite(archive, contents, target, (delta, newBytes) =>
      writeSource(file, new PatchedSource(archive.source, delta, newBytes)),
    );
    return used;
  });
}

/**
 * Only for speed: after a first write of this length, in bytes, no write begins at a round place. On ext4 of Linux
 * 6.18 in a virtual machine, those took up to 5 times as long (0.5 s instead of 0.1 s for 280 MB).
 */
const FIRST_WRITE = 12 * 1024;

/** Writes a source to a file, from its beginning. */
async function writeSource(file: FileHandle, source: ByteSource): Promise<RewrittenZip> {
  await file.truncate(0);
  const hash = createHash('sha256');
  let size = 0;
  const first = Math.min(FIRST_WRITE, source.size);
  for (const [start, end] of [
    [0, first],
    [first, source.size],
  ])
    for await (const chunk of readTransientChunks(source, start, end)) {
      const writing = writeFully(file, chunk, size);
      hash.update(chunk);
      await writing;
      size += chunk.length;
    }
  return { size, sha256: hash.digest('hex') };
}

/** Checks of reused data, a few at a time, beside other work. */
class Checks {
  private readonly semaphore = new Semaphore(REUSED_AT_ONCE);
  private readonly begun: Promise<boolean>[] = [];

  add(check: () => Promise<boolean>): void {
    this.begun.push(this.semaphore.run(check));
  }

  /** Whether all of them succeeded, once all have ended. */
  async succeeded(): Promise<boolean> {
    return (await settleAll(this.begun)).every(Boolean);
  }
}

/** Runs `plan` with reuse; if a check of reused data fails, runs it again without. */
async function withChecks<T>(
  replacements: readonly Replacement[],
  plan: (replacements: readonly Replacement[], checks: Checks) => Promise<T>,
): Promise<T> {
  const checks = new Checks();
  const planning = plan(replacements, checks);
  // Even if planning fails: checks read the sources until they end.
  const checking = planning.then(
    () => checks.succeeded(),
    () => checks.succeeded(),
  );
  const [result, sound] = await settleAll([planning, checking]);
  return sound ? result : plan(replacements.map(withoutReuse), new Checks());
}

const withoutReuse = ({ entry, source }: Replacement): Replacement => ({ entry, source });

/** The replacements in the order of the file; refuses paths that are not there or cannot be replaced. */
function resolve(archive: PartialArchive, contents: ReadonlyMap<string, NewContent>): Replacement[] {
  const replacements: Replacement[] = [];
  for (const entry of archive.located) {
    const content = contents.get(entry.path);
    if (!content) continue;
    requireOpenable(archive.source, entry, archive.limits);
    replacements.push({ entry, ...content });
  }
  const paths = new Set(replacements.map(({ entry }) => entry.path));
  for (const path of contents.keys())
    if (!paths.has(path))
      throw invalid('zip-entry-missing', `${archive.source.name}: has no entry ${shown(path)} to replace`);
  return replacements;
}

/** Goes through the old file once, front to back, and describes the new one. */
class RewritePlanner {
  private readonly builder = new DeltaBuilder();
  /** The old file is taken over up to here. */
  private done = 0;
  /** New content by index, of replaced entries only. */
  private readonly changed = new Map<number, ContentValues>();
  /** New offset by index. */
  private readonly offsets: number[] = [];

  constructor(
    private readonly archive: PartialArchive,
    private readonly newBytes: NewBytesWriter,
    private readonly checks: Checks,
  ) {}

  async plan(replacements: readonly Replacement[]): Promise<Delta> {
    const compressed = this.compress(replacements);
    const replaced = new Map(replacements.map((each) => [each.entry.index, each]));
    try {
      for (const entry of this.archive.layout) {
        const replacement = replaced.get(entry.index);
        if (replacement) await this.replace(replacement, compressed);
        else this.offsets[entry.index] = entry.offset - this.done + this.builder.size;
      }
    } finally {
      await compressed.blocks.return(undefined);
      await compressed.reused.return(undefined);
    }
    this.copyUpTo(this.archive.end.directoryOffset);
    await this.appendDirectory();
    return this.builder.delta;
  }

  private compress(replacements: readonly Replacement[]): Compressed {
    const reused = replacements.flatMap(({ entry, source, reuse }) =>
      reuse ? [() => reuseDeflateBlocks(source, this.compressedData(entry), reuse)] : [],
    );
    return {
      blocks: deflateBlocks(replacements.filter(({ reuse }) => !reuse).map(toDeflate)),
      reused: inOrder(reused, REUSED_AT_ONCE),
    };
  }

  private compressedData({ dataStart, dataEnd }: ArchiveEntry): ByteSource {
    const { source } = this.archive;
    return new ConcatenatedSource([{ source, start: dataStart, end: dataEnd }], source.name);
  }

  private copyUpTo(end: number): void {
    this.builder.copy({ start: this.done, end });
    this.done = end;
  }

  private async append(bytes: Buffer): Promise<void> {
    await this.newBytes.append(bytes);
    this.builder.insert(bytes.length);
  }

  private async replace(replacement: Replacement, compressed: Compressed): Promise<void> {
    const { entry, source } = replacement;
    this.copyUpTo(entry.offset);
    this.offsets[entry.index] = this.builder.size;
    const headerAt = this.newBytes.position;
    // The header's length follows from the size; CRC-32 and compressed size are filled in afterwards.
    await this.append(updatedLocalHeader(entry, { crc32: 0, size: source.size, compressedSize: 0 }));
    const values = await this.appendContent(replacement, compressed);
    await this.newBytes.fill(headerAt, updatedLocalHeader(entry, values));
    await this.append(updatedDescriptor(entry, values));
    this.changed.set(entry.index, values);
    this.done = entry.end;
  }

  private async appendContent(
    replacement: Replacement,
    { blocks, reused }: Compressed,
  ): Promise<ContentValues> {
    const { entry, source, reuse } = replacement;
    if (!reuse) return this.appendBlocks(source, blocks);
    const next = await reused.next();
    if (!next.done && next.value) {
      this.checks.add(next.value.isSound);
      return this.appendReused(source, next.value, entry);
    }
    const own = deflateBlocks([toDeflate(replacement)]);
    try {
      return await this.appendBlocks(source, own);
    } finally {
      await own.return(undefined);
    }
  }

  private async appendReused(
    source: ByteSource,
    { compressed, crc32 }: ReusedStream,
    { dataStart }: ArchiveEntry,
  ): Promise<ContentValues> {
    for (const { from, start, end } of compressed.delta.spans)
      if (from === 'source') this.builder.copy({ start: dataStart + start, end: dataStart + end });
      else await this.append(await compressed.fresh.read(start, end - start));
    return { crc32, size: source.size, compressedSize: compressed.size };
  }

  /** Appends the blocks of one entry. */
  private async appendBlocks(
    source: ByteSource,
    blocks: AsyncGenerator<DeflatedBlock>,
  ): Promise<ContentValues> {
    let crc = 0;
    const start = this.builder.size;
    for (let last = false; !last;) {
      const { value, done } = await blocks.next();
      if (done) break;
      crc = crc32(value.raw, crc);
      await this.append(value.compressed);
      last = value.last;
    }
    return { crc32: crc, size: source.size, compressedSize: this.builder.size - start };
  }

  private async appendDirectory(): Promise<void> {
    const start = this.builder.size;
    for (const entry of this.archive.entries) {
      const { crc32, size, compressedSize } = this.changed.get(entry.index) ?? entry;
      const offset = this.offsets[entry.index] ?? 0;
      await this.append(updatedCentralHeader(entry, { crc32, size, compressedSize, offset }));
    }
    await this.append(endBytes(movedEnd(this.archive.end, start, this.builder.size - start)));
  }
}

const toDeflate = ({ entry, source }: Replacement): ContentToDeflate => ({
  source,
  compress: entry.method === METHOD.deflated,
});
