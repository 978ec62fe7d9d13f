import { ConcatenatedSource, whole } from '../../../lib/bytes/concatenated-source.ts';
import { openCabinet, type Cabinet, type CabinetMember } from '../../../lib/cabinet/cabinet.ts';
import { FIXED_HEADER, looksLikeCabinet } from '../../../lib/cabinet/header.ts';
import { whyFixed } from '../../../lib/cabinet/why-fixed.ts';
import { requireUnpackable } from '../../../lib/cabinet/unpack.ts';
import type { CompoundFile, StorageEntry, StreamEntry } from '../../../lib/compound-file/compound-file.ts';
import { looksLikeCompoundFile } from '../../../lib/compound-file/header.ts';
import { invalid } from '../../../lib/errors.ts';
import { normalPath, shown, whyUnsafe } from '../../../lib/zip/entry-paths.ts';
import { limitHint, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Member } from '../container.ts';
import type { PackageFile, PackageFiles } from './package-files.ts';
import { decodeStreamName, isTableName } from './stream-names.ts';

/** Where the content of a member is. */
type MemberPlace =
  | { readonly kind: 'stream'; readonly entry: StreamEntry }
  | {
      readonly kind: 'cabinet';
      readonly cabinet: Cabinet;
      readonly stream: StreamEntry;
      readonly entry: CabinetMember;
    }
  | { readonly kind: 'elsewhere' };

/** A file in a package. */
export interface MsiMember {
  readonly member: Member;
  readonly place: MemberPlace;
  /** Its row in the table of files, if it has one. */
  readonly file?: PackageFile | undefined;
}

/** A stream, and the readable names of the storages that it is in. */
interface PlacedStream {
  readonly entry: StreamEntry;
  readonly storages: readonly string[];
}

const PROGRAM = Buffer.from('MZ', 'latin1');
const ZIP = Buffer.from('PK\u0003\u0004', 'latin1');

/** Whether a stream is a file of its own, by its first bytes: a program, another package, or a zip of any kind. */
const isFile = (head: Buffer): boolean =>
  head.subarray(0, 2).equals(PROGRAM) || head.subarray(0, 4).equals(ZIP) || looksLikeCompoundFile(head);

/** Icons may be programs that hold only resources, which are never run. */
const ICON = /^Icon\./;

/**
 * Finds the files in a package:
 *
 * - `KEY/NAME`: a file that is installed, by its key and its long name in the table File;
 * - `STREAM`: a program, package or zip that is a stream, such as `Binary.NAME` of a custom action;
 * - `STREAM/NAME`: a file in another cabinet, also in a storage, or under the name of a table, which a cabinet can have too.
 *
 * Only the first two can be replaced, in the root of a package that is no patch. Throws `msi-path-…`, `msi-too-many-files`,
 * `msi-file-too-large` and what opening a cabinet throws.
 */
export async function findMembers(
  file: CompoundFile,
  files: PackageFiles | null,
  limits: ArchiveLimits,
): Promise<MsiMember[]> {
  const finder = new MemberFinder(file, files, limits);
  for (const placed of streamsBelow(file.root, [])) await finder.addStream(placed);
  finder.addElsewhere();
  return finder.members;
}

function* streamsBelow({ children }: StorageEntry, storages: readonly string[]): Generator<PlacedStream> {
  for (const entry of children)
    if (entry.kind === 'stream') yield { entry, storages };
    else yield* streamsBelow(entry, [...storages, decodeStreamName(entry.name)]);
}

class MemberFinder {
  readonly members: MsiMember[] = [];
  private readonly paths = new Set<string>();
  private readonly found = new Set<string>();

  constructor(
    private readonly file: CompoundFile,
    private readonly files: PackageFiles | null,
    private readonly limits: ArchiveLimits,
  ) {}

  async addStream({ entry, storages }: PlacedStream): Promise<void> {
    const source = this.file.openStream(entry);
    const head = await source.read(0, Math.min(source.size, FIXED_HEADER));
    const name = decodeStreamName(entry.name);
    const path = [...storages, name].join('/');
    if (looksLikeCabinet(head)) await this.addCabinet(entry, path, storages.length === 0 ? `#${name}` : null);
    else if (isFile(head) && !isTableName(entry.name) && !ICON.test(name)) {
      const fixed = this.whyStreamFixed(storages);
      const member = { path, size: entry.size, ...(fixed === null ? {} : { fixed }) };
      this.add({ member, place: { kind: 'stream', entry } });
    }
  }

  private whyStreamFixed(storages: readonly string[]): string | null {
    if (storages.length > 0) return 'is in a storage of the package';
    return this.files ? null : 'is in a patch or a transform';
  }

  /** `reference` is how the table Media names the cabinet. */
  private async addCabinet(stream: StreamEntry, path: string, reference: string | null): Promise<void> {
    // Under its readable name, for messages.
    const content = whole(this.file.openStream(stream));
    const cabinet = await openCabinet(new ConcatenatedSource([content], `${this.file.source.name}!/${path}`));
    requireUnpackable(cabinet);
    for (const entry of cabinet.members) {
      const row = this.files?.byKey.get(entry.name);
      const file = row && row.cabinet === reference ? row : undefined;
      if (file && this.found.has(file.key))
        throw invalid('msi-path-duplicate', `${this.file.source.name}: two files have the key ${file.key}`);
      if (file) this.found.add(file.key);
      const fixed = file ? whyEmbeddedFixed(cabinet, entry) : this.whyUnlisted(reference);
      const member = {
        path: file ? pathOf(file) : normalPath(`${path}/${entry.name}`),
        size: entry.size,
        ...(fixed === null ? {} : { fixed }),
      };
      this.add({ member, place: { kind: 'cabinet', cabinet, stream, entry }, file });
    }
  }

  private whyUnlisted(reference: string | null): string {
    if (reference === null) return 'is in a storage of the package';
    return this.files ? 'is not in the table of files' : 'is in a patch or a transform';
  }

  /** Adds the installed files whose content is not in the package. Nothing of them is unpacked, so they count as empty. */
  addElsewhere(): void {
    for (const file of this.files?.byKey.values() ?? []) {
      if (this.found.has(file.key)) continue;
      const fixed =
        file.cabinet === ''
          ? 'lies beside the package'
          : file.cabinet.startsWith('#')
            ? `is missing in the cabinet ${shown(file.cabinet)}`
            : `is in the cabinet ${shown(file.cabinet)} beside the package`;
      const member = { path: pathOf(file), size: 0, fixed, elsewhere: true } as const;
      this.add({ member, place: { kind: 'elsewhere' }, file });
    }
  }

  private add(member: MsiMember): void {
    const { path, size } = member.member;
    const { name } = this.file.source;
    const why = path.endsWith('/') ? 'has no name' : whyUnsafe(path);
    if (why !== null) throw invalid('msi-path-unsafe', `${name}: ${shown(path)} ${why}`);
    if (this.paths.has(path))
      throw invalid('msi-path-duplicate', `${name}: two files are named ${shown(path)}`);
    this.paths.add(path);
    this.members.push(member);
    if (this.members.length > this.limits.entries)
      throw invalid('msi-too-many-files', `${name}: more than ${this.limits.entries} files`, {
        hint: limitHint('entries'),
      });
    if (size > this.limits.entry)
      throw invalid(
        'msi-file-too-large',
        `${name}: ${shown(path)} has ${size} bytes; ${this.limits.entry} allowed`,
        {
          hint: limitHint('entry'),
        },
      );
  }
}

const pathOf = ({ key, name }: PackageFile): string => `${key}/${name}`;

/** A reserved area in an embedded cabinet may be that of a signature, which would be lost. */
const whyEmbeddedFixed = (cabinet: Cabinet, entry: CabinetMember): string | null =>
  cabinet.header.reserve ? 'is in a cabinet with reserved areas' : whyFixed(cabinet, entry);
