import { invalid } from '../../../lib/errors.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { limitHint, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Container } from '../../formats/container.ts';
import type { SignableFile } from '../../formats/signable-file.ts';
import type { Spool, UnpackedProgram } from '../unpacked-programs.ts';
import { openZipContainer } from './zip-container.ts';

/** Containers within the artifact that are opened to reach a file: an MSI in a bundle in a zip in a zip. */
const DEEPEST = 4;

/** Files that unpack to less than this, in bytes, are not bombs, however well they were compressed. */
const HARMLESS = 1024 * 1024;

/** A file that may be a container: a zip if it has no `file`. */
interface MayContain {
  readonly source: ByteSource;
  readonly file: SignableFile | null;
}

/**
 * Opens the containers in one artifact, all of them within the same bounds: the number of files in all containers
 * together, their sizes as the containers state them, and the ratio of these to the size of the artifact.
 */
export class Descent {
  private files = 0;
  private bytes = 0;

  constructor(
    private readonly limits: ArchiveLimits,
    readonly spool: Spool,
    /** The size of the artifact, in bytes. */
    private readonly size: number,
  ) {}

  /**
   * The files in a file, which is reached through the containers `inside`, itself the last of them; null if it is no
   * container. Throws `inside-too-deep`, `inside-too-many`, `inside-too-large` and `inside-bomb`, besides what the
   * container's format throws.
   */
  async open({ source, file }: MayContain, inside: readonly string[]): Promise<Container | null> {
    const left = { ...this.limits, entries: this.limits.entries - this.files };
    if (file && !file.container) return null;
    if (inside.length > DEEPEST) throw tooDeep(source);
    const container = await (file
      ? (file.container?.(left) ?? null)
      : openZipContainer(source, left, this.spool));
    if (container) this.charge(source, container);
    return container;
  }

  private charge(source: ByteSource, { members }: Container): void {
    this.files += members.length;
    for (const { size } of members) this.bytes += size;
    const { entries, archive, ratio } = this.limits;
    const what = `${source.name}: with it, containers hold`;
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

  /** The content of a member in full. */
  async unpack(content: AsyncIterable<Buffer>, size: number, name: string): Promise<UnpackedProgram> {
    return this.spool.keep(content, size, name);
  }
}

const tooDeep = (source: ByteSource): Error =>
  invalid('inside-too-deep', `${source.name}: it lies in more than ${DEEPEST} containers`, {
    hint: 'exclude it from signing.files with "!", or pack it less deep',
  });
