import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { BufferSource } from '../../lib/bytes/byte-source.ts';
import { PatchedSource } from '../../lib/bytes/patched-source.ts';
import type { ArchiveEntry } from '../../lib/zip/local-headers.ts';
import type { Archive } from '../../lib/zip/read-zip.ts';
import { METHOD } from '../../lib/zip/header-fields.ts';
import { planRewrite } from '../../lib/zip/rewrite-zip.ts';
import { flattened } from '../../lib/bytes/flatten-patched.ts';
import { invalid } from '../../lib/errors.ts';
import type { Container, Member, OpenMember } from './container.ts';

/** New bytes of a zip that is packed again, up to which they stay in memory. */
const IN_MEMORY = 4 * 1024 * 1024;

/** The most new bytes, if they can only be kept in memory; with more, the zip cannot be packed again. */
const MOST_IN_MEMORY = 1024 * 1024 * 1024;

/** Makes files for new bytes of a zip that are too many for memory. */
export interface NewBytesStore {
  newFile(): { readonly path: string; open(name: string): Promise<ByteSource> };
}

/** A zip whose files are members. Its entries are read as those of any zip; what does not change is copied byte for byte. */
export class ZipContainer implements Container {
  readonly members: readonly Member[];
  private readonly memberOf: ReadonlyMap<ArchiveEntry, Member>;

  constructor(
    private readonly archive: Archive,
    /** null keeps all new bytes in memory. */
    private readonly store: NewBytesStore | null,
    /** By path, why members cannot be replaced though the zip would permit it. */
    fixed: ReadonlyMap<string, string> = new Map(),
  ) {
    const files = archive.layout.filter((entry) => !entry.directory);
    this.memberOf = new Map(files.map((entry) => [entry, memberFor(entry, fixed.get(entry.path))]));
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
    const file = this.store?.newFile() ?? this.noFile(contents);
    const { delta, newBytes } = await planRewrite(
      this.archive,
      new Map([...contents].map(([path, content]) => [path, { source: content }])),
      { path: file.path, inMemory: this.store ? IN_MEMORY : 2 * MOST_IN_MEMORY },
      () => Promise.resolve(),
    );
    const fresh = newBytes ? new BufferSource(newBytes, source.name) : await file.open(source.name);
    return flattened(new PatchedSource(source, delta, fresh));
  }

  private noFile(contents: ReadonlyMap<string, ByteSource>): ReturnType<NewBytesStore['newFile']> {
    const size = [...contents.values()].reduce((sum, each) => sum + each.size, 0);
    const { name } = this.archive.source;
    const tooLarge = invalid('inside-too-large', `${name}: ${size} bytes of signed files for one package`, {
      hint: 'sign the files before packing',
    });
    if (size > MOST_IN_MEMORY) throw tooLarge;
    return { path: '', open: () => Promise.reject(tooLarge) };
  }
}

const memberFor = (entry: ArchiveEntry, fixed: string | undefined): Member => ({
  path: entry.path,
  size: entry.size,
  ...(entry.otherPaths.length > 0 ? { otherPaths: entry.otherPaths } : {}),
  ...(fixed === undefined ? fixedBecause(entry) : { fixed }),
});

/** Such entries are members too: one that is ours must not be passed over. Reading it throws. */
function fixedBecause({ symlink, method }: ArchiveEntry): Pick<Member, 'fixed'> {
  if (symlink) return { fixed: 'is a symbolic link' };
  if (method === METHOD.stored || method === METHOD.deflated) return {};
  return { fixed: `is compressed by method ${method}` };
}
