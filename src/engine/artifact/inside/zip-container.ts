import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { BufferSource } from '../../../lib/bytes/byte-source.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import type { Archive } from '../../../lib/zip/read-zip.ts';
import { METHOD } from '../../../lib/zip/header-fields.ts';
import { planRewrite } from '../../../lib/zip/rewrite-zip.ts';
import type { Container, Member, OpenMember } from '../../formats/container.ts';
import type { Spool } from '../unpacked-programs.ts';

/** New bytes of a zip that is packed again, up to which they stay in memory. */
const IN_MEMORY = 4 * 1024 * 1024;

/** A zip in a container. Its entries are read as those of any zip; what does not change is copied byte for byte. */
export class ZipContainer implements Container {
  readonly members: readonly Member[];
  private readonly memberOf: ReadonlyMap<ArchiveEntry, Member>;

  constructor(
    private readonly archive: Archive,
    private readonly spool: Spool,
  ) {
    const files = archive.layout.filter(({ directory }) => !directory);
    this.memberOf = new Map(files.map((entry) => [entry, memberFor(entry)]));
    this.members = [...this.memberOf.values()];
  }

  async *read(wanted: (member: Member) => boolean): AsyncGenerator<OpenMember> {
    for (const [entry, member] of this.memberOf)
      if (wanted(member)) yield { member, content: this.content(entry) };
  }

  private async *content(entry: ArchiveEntry): AsyncGenerator<Buffer> {
    yield* await this.archive.open(entry);
  }

  async replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource> {
    const { source } = this.archive;
    const file = this.spool.newFile();
    const { delta, newBytes } = await planRewrite(
      this.archive,
      new Map([...contents].map(([path, content]) => [path, { source: content }])),
      { path: file.path, inMemory: IN_MEMORY },
      () => Promise.resolve(),
    );
    const fresh = newBytes ? new BufferSource(newBytes, source.name) : await file.open(source.name);
    return new PatchedSource(source, delta, fresh);
  }
}

const memberFor = (entry: ArchiveEntry): Member => ({
  path: entry.path,
  size: entry.size,
  ...(entry.otherPaths.length > 0 ? { otherPaths: entry.otherPaths } : {}),
  ...fixedBecause(entry),
});

/** Such entries are members too: one that is ours must not be passed over. Reading it throws. */
function fixedBecause({ symlink, method }: ArchiveEntry): Pick<Member, 'fixed'> {
  if (symlink) return { fixed: 'is a symbolic link' };
  if (method === METHOD.stored || method === METHOD.deflated) return {};
  return { fixed: `is compressed by method ${method}` };
}
