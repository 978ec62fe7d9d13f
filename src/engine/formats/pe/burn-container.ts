import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { readChunks } from '../../../lib/bytes/read-chunks.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { invalid } from '../../../lib/errors.ts';
import type { Container, Member, OpenMember } from '../container.ts';
import { attachEngine, detachEngine, type BurnParts, type PeWithBundle } from './burn-bundle.ts';
import type { SignableFile } from '../signable-file.ts';

/** The name of the only member, as WiX's documentation calls the detached file. */
const ENGINE = 'engine.exe';

/** An open PE file, as far as it is needed here. */
interface EngineFile extends SignableFile, PeWithBundle {
  readonly source: ByteSource;
  checksum(): Promise<{ readonly stored: number }>;
}

/**
 * The engine of a Burn bundle as a file inside of it: it is signed before the bundle, as `insignia` does it. What the
 * bundle installs is no member, since the engine holds digests of it. `open` opens a PE file.
 */
export class BurnContainer implements Container {
  readonly members: readonly [Member];

  constructor(
    private readonly file: PeWithBundle,
    private readonly parts: BurnParts,
    private readonly open: (source: ByteSource) => Promise<EngineFile>,
  ) {
    this.members = [{ path: ENGINE, size: parts.engine.end }];
  }

  async *read(wanted: (member: Member) => boolean): AsyncGenerator<OpenMember> {
    const [member] = this.members;
    if (wanted(member)) yield { member, content: readChunks(await detachEngine(this.file, this.parts)) };
  }

  /** Throws `burn-bundle` if the new engine is not signed, and `strip-…` if it is not the old one with a signature. */
  async replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource> {
    const older = await this.open(await detachEngine(this.file, this.parts));
    const newer = await this.open(contents.get(ENGINE) ?? older.source);
    const { table, bodyEnd } = newer.layout;
    if (!table)
      throw invalid('burn-bundle', `${this.file.source.name}: the engine to attach to it is not signed`);
    await newer.requireSameContent(older);
    const end = older.layout.bodyEnd;
    const tail = await newer.source.read(end, newer.source.size - end);
    const { stored: checksum } = await newer.checksum();
    const fields = { checksum, tableOffset: bodyEnd, tableSize: table.end - table.start };
    return attachEngine(this.file, this.parts, { start: 0, end }, { tail, fields });
  }
}
