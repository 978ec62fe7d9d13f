import { crc32 } from 'node:zlib';
import { invalid } from '../errors.ts';
import { AtomicFile, writeAtomically } from '../bytes/atomic-file.ts';
import type { Delta } from '../bytes/delta.ts';
import { ConcatenatedSource } from '../bytes/concatenated-source.ts';
import { BufferSource, withFile, type ByteSource } from '../bytes/byte-source.ts';
import { Semaphore } from '../concurrency/semaphore.ts';
import { settleAll } from '../concurrency/settle-all.ts';
import { changedCentral, changedDescriptor, changedLocal, type ContentValues } from './updated-headers.ts';
import { packBlocks, type Block, type Job } from './deflate.ts';
import { endBytes, movedEnd } from './end-of-central-directory.ts';
import { shown } from './entry-names.ts';
import { inOrder } from '../concurrency/in-order.ts';
import { requireOpenable, type ArchiveEntry, type PartialArchive } from './read-zip.ts';
import { METHOD } from './header-fields.ts';
import { splice, type Reuse, type Splice } from './reuse-deflate-blocks.ts';
import { DeltaWriter, FileWriter, type ArchiveWriter } from './zip-writer.ts';

/** What an entry is to hold; with `reuse`, packed out of what is packed already as far as that goes. */
export interface NewContent {
  readonly source: ByteSource;
  readonly reuse?: Reuse;
}

/** One entry with its new content. */
interface Replacement extends NewContent {
  readonly entry: ArchiveEntry;
}

/** Content packed and spliced in the order of the file, a little ahead of where it is written. */
interface Ahead {
  readonly blocks: AsyncGenerator<Block>;
  readonly splices: AsyncGenerator<Splice | null>;
}

/** Splices made at once: each may hold some megabytes until it is written. So many are checked at once, too. */
const SPLICED_AHEAD = 2;

export interface RewriteResult {
  /** Size of the new archive in bytes. */
  readonly size: number;
  readonly replaced: readonly { path: string; size: number; compressedSize: number }[];
}

/**
 * Writes the archive to `output` with the content of some entries replaced, by path. All else is taken
 * over byte for byte: local headers, data, descriptors and bytes between entries are copied as spans; a
 * replaced entry keeps its header but for CRC-32 and sizes, and its method; the directory keeps all but
 * those and the offsets. Zip64 values appear where a number no longer fits.
 *
 * The same archive and the same replacements give the same bytes. Memory stays flat whatever the sizes and
 * the number of replacements.
 */
export function rewriteArchive(
  archive: PartialArchive,
  replacements: ReadonlyMap<string, NewContent>,
  output: string,
): Promise<RewriteResult> {
  const wanted = resolve(archive, replacements);
  return writeAtomically(output, (file) =>
    splicing(wanted, async (contents, checks) => {
      await file.truncate(0);
      const writer = new FileWriter(() => Promise.resolve(file));
      const result = await new Rewriting(archive, writer, checks).run(contents);
      await writer.flush();
      return result;
    }),
  );
}

/** Where new bytes go. */
export interface FreshFile {
  /** A file that appears whole and flushed, or not at all. */
  readonly path: string;
  /** Up to so many bytes stay in memory instead, and no file is made; none unless given. */
  readonly inMemory?: number;
}

/** What `rewriteArchive` would write, and what came of it meanwhile. */
export interface RewritePlan<T> extends RewriteResult {
  readonly assembly: Delta;
  /** The new bytes where they are in memory; null where they are in their file. */
  readonly fresh: Buffer | null;
  readonly meanwhile: T;
}

/**
 * What `rewriteArchive` would write, described instead: the spans that are taken over, and the new bytes. Reads
 * nothing of the archive but packed data that is to be reused. `meanwhile` is called with both while it is still
 * checked that they hold; where they do not, once more with those that do.
 */
export function planRewrite<T>(
  archive: PartialArchive,
  replacements: ReadonlyMap<string, NewContent>,
  file: FreshFile,
  meanwhile: (assembly: Delta, fresh: ByteSource) => Promise<T>,
): Promise<RewritePlan<T>> {
  return splicing(resolve(archive, replacements), async (contents, checks) => {
    const { writer, fresh, ...result } = await writeFresh(file, async (fresh) => {
      const writer = new DeltaWriter(fresh);
      return { ...(await new Rewriting(archive, writer, checks).run(contents)), writer };
    });
    const { delta: assembly } = writer;
    const told = fresh
      ? await meanwhile(assembly, new BufferSource(fresh, file.path))
      : await withFile(file.path, (written) => meanwhile(assembly, written));
    return { ...result, assembly, fresh, meanwhile: told };
  });
}

/** Has new bytes written; they are in their file when this ends, or few enough and given back. */
async function writeFresh<T>(
  { path, inMemory = 0 }: FreshFile,
  write: (fresh: FileWriter) => Promise<T>,
): Promise<T & { readonly fresh: Buffer | null }> {
  const file = new AtomicFile(path);
  const writer = new FileWriter(() => file.open(), inMemory > 0 ? inMemory : undefined);
  try {
    const result = await write(writer);
    const fresh = inMemory > 0 ? writer.unwritten : null;
    if (!fresh) {
      await writer.flush();
      await file.publish();
    }
    return { ...result, fresh };
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/** Checks of what was spliced, a few at a time, beside what else is done. */
class Checks {
  private readonly semaphore = new Semaphore(SPLICED_AHEAD);
  private readonly begun: Promise<boolean>[] = [];

  add(check: () => Promise<boolean>): void {
    this.begun.push(this.semaphore.run(check));
  }

  /** Whether all of them hold, when all have ended. */
  async hold(): Promise<boolean> {
    return (await settleAll(this.begun)).every(Boolean);
  }
}

/** Writes archives out of what is packed already; where that turns out not to hold, again with all of it packed anew. */
async function splicing<T>(
  contents: readonly Replacement[],
  write: (contents: readonly Replacement[], checks: Checks) => Promise<T>,
): Promise<T> {
  const checks = new Checks();
  const writing = write(contents, checks);
  // Whatever comes of it: what is checked is read until then.
  const holding = writing.then(
    () => checks.hold(),
    () => checks.hold(),
  );
  const [written, hold] = await settleAll([writing, holding]);
  return hold ? written : write(contents.map(packedAnew), new Checks());
}

const packedAnew = ({ entry, source }: Replacement): Replacement => ({ entry, source });

/** The replacements in the order of the file; refuses paths that are not there or cannot be replaced. */
function resolve(archive: PartialArchive, replacements: ReadonlyMap<string, NewContent>): Replacement[] {
  const found: Replacement[] = [];
  for (const entry of archive.located) {
    const content = replacements.get(entry.path);
    if (!content) continue;
    requireOpenable(archive.source, entry, archive.limits);
    found.push({ entry, ...content });
  }
  const known = new Set(found.map(({ entry }) => entry.path));
  for (const path of replacements.keys())
    if (!known.has(path))
      throw invalid('zip-entry-missing', `${archive.source.name}: has no entry ${shown(path)} to replace`);
  return found;
}

/** One pass over the old file, front to back. */
class Rewriting {
  /** New content and new place by index, of replaced entries only. */
  private readonly changed = new Map<number, ContentValues>();
  private readonly offsets: number[] = [];
  /** How far the old file is taken over; bytes before this are done. */
  private taken = 0;

  constructor(
    private readonly archive: PartialArchive,
    private readonly writer: ArchiveWriter,
    private readonly checks: Checks,
  ) {}

  async run(replacements: readonly Replacement[]): Promise<RewriteResult> {
    const ahead = this.begin(replacements);
    const replaced = new Map(replacements.map((each) => [each.entry.index, each]));
    try {
      for (const entry of this.archive.layout) {
        const replacement = replaced.get(entry.index);
        if (replacement) await this.replace(replacement, ahead);
        else this.offsets[entry.index] = entry.offset - this.taken + this.writer.position;
      }
    } finally {
      await ahead.blocks.return(undefined);
      await ahead.splices.return(undefined);
    }
    await this.take(this.archive.end.directoryOffset);
    await this.writeDirectory();
    return { size: this.writer.position, replaced: replacements.map(({ entry }) => this.report(entry)) };
  }

  private begin(replacements: readonly Replacement[]): Ahead {
    const splices = replacements.flatMap(({ entry, source, reuse }) =>
      reuse ? [() => splice(source, this.packedData(entry), reuse)] : [],
    );
    return {
      blocks: packBlocks(replacements.filter(({ reuse }) => !reuse).map(jobOf)),
      splices: inOrder(splices, SPLICED_AHEAD),
    };
  }

  private packedData({ dataStart, dataEnd }: ArchiveEntry): ByteSource {
    const { source } = this.archive;
    return new ConcatenatedSource([{ source, start: dataStart, end: dataEnd }], source.name);
  }

  /** Copies the old file up to `end`. */
  private async take(end: number): Promise<void> {
    await this.writer.copy(this.archive.source, this.taken, end);
    this.taken = end;
  }

  private async replace(replacement: Replacement, ahead: Ahead): Promise<void> {
    const { entry, source } = replacement;
    await this.take(entry.offset);
    const at = this.writer.position;
    this.offsets[entry.index] = at;
    // The header's length follows from the size; CRC-32 and compressed size are filled in afterwards.
    await this.writer.append(changedLocal(entry, { crc32: 0, size: source.size, compressedSize: 0 }));
    const values = await this.write(replacement, ahead);
    await this.writer.fill(at, changedLocal(entry, values));
    await this.writer.append(changedDescriptor(entry, values));
    this.changed.set(entry.index, values);
    this.taken = entry.end;
  }

  private async write(replacement: Replacement, { blocks, splices }: Ahead): Promise<ContentValues> {
    const { entry, source, reuse } = replacement;
    if (!reuse) return this.pack(source, blocks);
    const next = await splices.next();
    if (!next.done && next.value) {
      this.checks.add(next.value.holds);
      return this.join(source, next.value, entry);
    }
    const own = packBlocks([jobOf(replacement)]);
    try {
      return await this.pack(source, own);
    } finally {
      await own.return(undefined);
    }
  }

  /** Writes the parts of one entry, and takes over those that are packed already. */
  private async join(
    source: ByteSource,
    { packed, crc32: sum }: Splice,
    { dataStart }: ArchiveEntry,
  ): Promise<ContentValues> {
    for (const { from, start, end } of packed.delta.spans)
      if (from === 'source') await this.writer.copy(this.archive.source, dataStart + start, dataStart + end);
      else await this.writer.append(await packed.fresh.read(start, end - start));
    return { crc32: sum, size: source.size, compressedSize: packed.size };
  }

  /** Writes the blocks of one entry. */
  private async pack(source: ByteSource, blocks: AsyncGenerator<Block>): Promise<ContentValues> {
    let crc = 0;
    const start = this.writer.position;
    for (let last = false; !last;) {
      const { value, done } = await blocks.next();
      if (done) break;
      crc = crc32(value.raw, crc);
      await this.writer.append(value.packed);
      last = value.last;
    }
    return { crc32: crc, size: source.size, compressedSize: this.writer.position - start };
  }

  private async writeDirectory(): Promise<void> {
    const start = this.writer.position;
    for (const entry of this.archive.entries) {
      const values = this.changed.get(entry.index) ?? entry;
      const offset = this.offsets[entry.index] ?? 0;
      await this.writer.append(changedCentral(entry, { ...contentOf(values), offset }));
    }
    const end = movedEnd(this.archive.end, start, this.writer.position - start);
    await this.writer.append(endBytes(end));
  }

  private report({ path, index }: ArchiveEntry): { path: string; size: number; compressedSize: number } {
    const { size, compressedSize } = this.changed.get(index) ?? { size: 0, compressedSize: 0 };
    return { path, size, compressedSize };
  }
}

const jobOf = ({ entry, source }: Replacement): Job => ({
  source,
  compress: entry.method === METHOD.deflated,
});

const contentOf = ({ crc32, size, compressedSize }: ContentValues): ContentValues => ({
  crc32,
  size,
  compressedSize,
});
