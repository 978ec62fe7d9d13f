import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { limitHint, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Archive } from '../../../lib/zip/read-zip.ts';
import type { Container } from '../../formats/container.ts';
import { readZip } from '../../formats/packages.ts';
import { openSignableFile, recognize } from '../../formats/recognize.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import type { Spool, UnpackedProgram } from '../unpacked-programs.ts';
import { ZipContainer } from '../../formats/zip-container.ts';

/** Containers within the artifact that are opened to reach a file: an MSI in a bundle in a zip in a zip. */
const DEEPEST = 4;

/** What unpacks to no more than this, in bytes, is not a bomb, however well it was compressed. */
const HARMLESS = 1024 * 1024;

/**
 * What the containers in one artifact may hold, all of them together: how many files, of which size as the containers
 * state it, and how much larger than the artifact.
 */
export class Budget {
  private files = 0;
  private bytes = 0;

  constructor(
    private readonly limits: ArchiveLimits,
    /** The size of the artifact, in bytes. */
    private readonly size: number,
  ) {}

  /** The limits for the next container. */
  get left(): ArchiveLimits {
    return { ...this.limits, entries: Math.max(0, this.limits.entries - this.files) };
  }

  /** Throws `inside-too-many`, `inside-too-large` and `inside-bomb`. */
  charge(name: string, sizes: readonly number[]): void {
    this.files += sizes.length;
    for (const size of sizes) this.bytes += size;
    const { entries, archive, ratio } = this.limits;
    const what = `${name}: with it, containers hold`;
    if (this.files > entries)
      throw invalid('inside-too-many', `${what} ${this.files} files; ${entries} allowed`, {
        hint: limitHint('entries'),
      });
    if (this.bytes > archive)
      throw invalid('inside-too-large', `${what} ${this.bytes} bytes; ${archive} allowed`, {
        hint: limitHint('archive'),
      });
    if (this.bytes > HARMLESS && this.bytes > ratio * this.size)
      throw invalid('inside-bomb', `${what} ${this.bytes} bytes, packed in ${this.size}`, {
        hint: limitHint('ratio'),
      });
  }
}

/** A file that may be a container: a zip if it has no `file`. */
interface MayContain {
  readonly source: ByteSource;
  readonly file: SignableFile | null;
}

/**
 * Opens containers in an artifact, within one budget, and unpacks what is in them. `inside` is always the path from the
 * artifact to the members of the container that is opened. Throws `inside-too-deep` and what `Budget.charge` throws, besides
 * what the container's format throws.
 */
export class Descent {
  constructor(
    private readonly budget: Budget,
    private readonly spool: Spool,
  ) {}

  /** The files in a file; null if it is no container. */
  async open({ source, file }: MayContain, inside: readonly string[]): Promise<Container | null> {
    if (!file) return new ZipContainer(await this.openZip(source, inside), this.spool);
    if (!file.container) return null;
    requireNotTooDeep(source, inside);
    const container = await file.container(this.budget.left);
    if (container)
      this.budget.charge(
        source.name,
        container.members.map(({ size }) => size),
      );
    return container;
  }

  /** Opens a zip. */
  async openZip(source: ByteSource, inside: readonly string[]): Promise<Archive> {
    requireNotTooDeep(source, inside);
    const archive = await readZip(source, this.budget.left);
    this.budget.charge(
      source.name,
      archive.entries.map(({ size }) => size),
    );
    return archive;
  }

  /** The files in a file of either kind; null if it is no container. */
  async openSource(source: ByteSource, inside: readonly string[]): Promise<Container | null> {
    const kind = await recognize(source);
    if (kind === null) return null;
    return this.open({ source, file: kind === 'zip' ? null : await openSignableFile(source) }, inside);
  }

  /** Runs `use`, and lets go of what was unpacked meanwhile unless it returns something. One at a time. */
  async keepingIf<T>(use: () => Promise<T | null>): Promise<T | null> {
    const { state } = this.spool;
    const result = await use();
    if (result === null) await this.spool.returnTo(state);
    return result;
  }

  /** The content of a member in full. */
  unpack(content: AsyncIterable<Buffer>, size: number, name: string): Promise<UnpackedProgram> {
    return this.spool.keep(content, size, name);
  }
}

function requireNotTooDeep(source: ByteSource, inside: readonly string[]): void {
  if (inside.length > DEEPEST) throw tooDeep(source.name);
}

const tooDeep = (name: string): SignpipeError =>
  invalid('inside-too-deep', `${name}: it lies in ${DEEPEST} other containers, and is not opened`, {
    hint: 'exclude it from signing.files with "!", or pack it less deep',
  });
