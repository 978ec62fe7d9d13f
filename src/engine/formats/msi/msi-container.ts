import { BufferSource, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { readChunks } from '../../../lib/bytes/read-chunks.ts';
import type { CabinetMember } from '../../../lib/cabinet/cabinet.ts';
import { rebuildCabinet } from '../../../lib/cabinet/rebuild.ts';
import { unpackMembers } from '../../../lib/cabinet/unpack.ts';
import type { CompoundFile, StreamEntry } from '../../../lib/compound-file/compound-file.ts';
import { updateCompoundFile, type StreamContent } from '../../../lib/compound-file/update.ts';
import { invalid } from '../../../lib/errors.ts';
import { shown } from '../../../lib/zip/entry-paths.ts';
import type { ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { Container, Member, OpenMember } from '../container.ts';
import { openDatabase } from './database/database.ts';
import { findMembers, type MsiMember } from './msi-members.ts';
import { PackageFiles } from './package-files.ts';

/**
 * The files in a package: those in its embedded cabinets, the files of its table that lie elsewhere, and programs that are
 * streams of their own, such as those of custom actions. `signature` are the streams that signing added. Throws
 * `msi-…`, `cab-…`.
 */
export async function openMsiContainer(
  file: CompoundFile,
  signature: readonly StreamEntry[],
  limits: ArchiveLimits,
): Promise<Container | null> {
  const database = await openDatabase(file);
  const files = database && (await PackageFiles.read(database, file.source.name));
  const members = await findMembers(file, files, limits);
  return members.length === 0 ? null : new MsiContainer(file, signature, members, limits);
}

class MsiContainer implements Container {
  readonly members: readonly Member[];
  private readonly byEntry = new Map<CabinetMember, Member>();

  constructor(
    private readonly file: CompoundFile,
    private readonly signature: readonly StreamEntry[],
    private readonly all: readonly MsiMember[],
    private readonly limits: ArchiveLimits,
  ) {
    this.members = all.map(({ member }) => member);
    for (const { member, place } of all) if (place.kind === 'cabinet') this.byEntry.set(place.entry, member);
  }

  async *read(wanted: (member: Member) => boolean): AsyncGenerator<OpenMember> {
    let unpacked: object | null = null;
    for (const { member, place } of this.all)
      if (place.kind === 'stream') {
        if (wanted(member)) yield { member, content: readChunks(this.file.openStream(place.entry)) };
      } else if (place.kind === 'elsewhere') {
        if (wanted(member)) yield { member, content: unreachable(this.file.source.name, member) };
      } else if (place.cabinet !== unpacked) {
        unpacked = place.cabinet;
        yield* this.readCabinet(place.cabinet, wanted);
      }
  }

  private async *readCabinet(
    cabinet: CabinetOf<MsiMember>,
    wanted: (member: Member) => boolean,
  ): AsyncGenerator<OpenMember> {
    const isWanted = (entry: CabinetMember): boolean => {
      const member = this.byEntry.get(entry);
      return member !== undefined && wanted(member);
    };
    for await (const { member: entry, content } of unpackMembers(cabinet, isWanted, this.limits)) {
      const member = this.byEntry.get(entry);
      if (member) yield { member, content };
    }
  }

  async replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource> {
    const { name } = this.file.source;
    // Read again, since the tables are changed.
    const database = await openDatabase(this.file);
    const files = database && (await PackageFiles.read(database, name));
    const changed = this.all.filter(({ member }) => contents.has(member.path));
    if (changed.length !== contents.size) throw new RangeError(`${name}: no such member`);
    const cabinets = new Map<
      CabinetOf<MsiMember>,
      { stream: StreamEntry; members: Map<CabinetMember, ByteSource> }
    >();
    const write: StreamContent[] = [];
    for (const { member, place, file } of changed) {
      const content = contents.get(member.path);
      if (!content || member.fixed !== undefined || place.kind === 'elsewhere') throw fixed(name, member);
      if (place.kind === 'stream') {
        write.push({ name: place.entry.name, content });
        continue;
      }
      const { members } = cabinets.get(place.cabinet) ?? { members: new Map<CabinetMember, ByteSource>() };
      cabinets.set(place.cabinet, { stream: place.stream, members: members.set(place.entry, content) });
      if (file) await files?.enter(file, content);
    }
    for (const [cabinet, { stream, members }] of cabinets)
      write.push({ name: stream.name, content: await rebuildCabinet(cabinet, members, this.limits) });
    for (const { name: table, bytes } of files?.changedStreams() ?? [])
      write.push({ name: table, content: new BufferSource(bytes, name) });
    return updateCompoundFile(this.file, { remove: this.signature, write });
  }
}

type CabinetOf<T extends MsiMember> = Extract<T['place'], { kind: 'cabinet' }>['cabinet'];

const fixed = (name: string, { path, fixed: why = 'cannot be replaced' }: Member): Error =>
  invalid('msi-member-fixed', `${name}: ${shown(path)} ${why}`, { hint: 'sign it before it is packed' });

// eslint-disable-next-line require-yield -- it throws before
async function* unreachable(name: string, { path, fixed: why }: Member): AsyncGenerator<Buffer> {
  throw invalid('msi-file-elsewhere', `${name}: ${shown(path)} ${why}`, {
    hint: 'build the package with its cabinets embedded, or sign these files before and exclude them here',
  });
}
