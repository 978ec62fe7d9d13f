import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import type { Cabinet, CabinetMember } from '../../../lib/cabinet/cabinet.ts';
import { rebuildCabinet } from '../../../lib/cabinet/rebuild.ts';
import { whyFixed } from '../../../lib/cabinet/why-fixed.ts';
import { requireUnpackable, unpackMembers } from '../../../lib/cabinet/unpack.ts';
import { invalid } from '../../../lib/errors.ts';
import { normalPath, requireDistinctPlaces, shown, whyUnsafe } from '../../../lib/zip/entry-paths.ts';
import { limitHint, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Container, Member, OpenMember } from '../container.ts';

/** A member of a cabinet as the container shows it. */
interface ShownMember {
  readonly entry: CabinetMember;
  readonly member: Member;
}

/**
 * The files in a cabinet. `fixed` says why none of them can be replaced, if something beside the cabinet itself is the
 * reason. Throws `cab-too-many-files`, `cab-file-too-large`, `cab-path-unsafe`, `cab-path-duplicate`, and what
 * `requireUnpackable` throws.
 */
export function openCabinetContainer(
  cabinet: Cabinet,
  limits: ArchiveLimits,
  fixed: string | null,
): Container {
  const { name } = cabinet.source;
  requireUnpackable(cabinet);
  requireWithin(cabinet, limits);
  const all = cabinet.members.map((entry) => ({ entry, member: memberOf(cabinet, entry, fixed) }));
  requireDistinctPlaces(
    all.map(({ member }) => ({ ...member, directory: false })),
    (_code, why) => invalid('cab-path-duplicate', `${name}: ${why}`, { hint: 'pack the cabinet again' }),
  );
  return new CabinetContainer(cabinet, limits, all);
}

function requireWithin({ source, members }: Cabinet, limits: ArchiveLimits): void {
  if (members.length > limits.entries)
    throw invalid(
      'cab-too-many-files',
      `${source.name}: ${members.length} files; ${limits.entries} allowed`,
      {
        hint: limitHint('entries'),
      },
    );
  const large = members.find(({ size }) => size > limits.entry);
  if (large)
    throw invalid(
      'cab-file-too-large',
      `${source.name}: ${shown(large.name)} has ${large.size} bytes; ${limits.entry} allowed`,
      { hint: limitHint('entry') },
    );
}

function memberOf(cabinet: Cabinet, entry: CabinetMember, fixed: string | null): Member {
  const why = whyUnsafe(entry.name);
  if (why !== null)
    throw invalid('cab-path-unsafe', `${cabinet.source.name}: ${shown(entry.name)} ${why}`, {
      hint: 'pack the cabinet again',
    });
  const reason = fixed ?? whyFixed(cabinet, entry);
  const otherPaths = entry.otherNames.map(normalPath);
  return {
    path: normalPath(entry.name),
    size: entry.size,
    ...(otherPaths.length === 0 ? {} : { otherPaths }),
    ...(reason === null ? {} : { fixed: reason }),
    ...(entry.continued ? { elsewhere: true } : {}),
  };
}

class CabinetContainer implements Container {
  readonly members: readonly Member[];
  private readonly byEntry: ReadonlyMap<CabinetMember, Member>;

  constructor(
    private readonly cabinet: Cabinet,
    private readonly limits: ArchiveLimits,
    private readonly all: readonly ShownMember[],
  ) {
    this.members = all.map(({ member }) => member);
    this.byEntry = new Map(all.map(({ entry, member }) => [entry, member]));
  }

  async *read(wanted: (member: Member) => boolean): AsyncGenerator<OpenMember> {
    const isWanted = (entry: CabinetMember): boolean => {
      const member = this.byEntry.get(entry);
      return member !== undefined && wanted(member);
    };
    for await (const { member: entry, content } of unpackMembers(this.cabinet, isWanted, this.limits)) {
      const member = this.byEntry.get(entry);
      if (member) yield { member, content };
    }
  }

  // eslint-disable-next-line require-await -- a refusal is a rejection, not a throw
  async replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource> {
    const replaced = new Map<CabinetMember, ByteSource>();
    for (const { entry, member } of this.all) {
      const content = contents.get(member.path);
      if (!content) continue;
      if (member.fixed !== undefined)
        throw invalid(
          'cab-member-fixed',
          `${this.cabinet.source.name}: ${shown(member.path)} ${member.fixed}`,
          {
            hint: 'sign it before it is packed',
          },
        );
      replaced.set(entry, content);
    }
    if (replaced.size !== contents.size) throw new RangeError(`${this.cabinet.source.name}: no such member`);
    return rebuildCabinet(this.cabinet, replaced, this.limits);
  }
}
