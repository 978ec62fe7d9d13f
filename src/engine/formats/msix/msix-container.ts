import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { BufferSource, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import type { DigestName } from '../../../lib/asn1/oids.ts';
import { invalid } from '../../../lib/errors.ts';
import { editAttributes } from '../../../lib/xml/edit-attributes.ts';
import { shown } from '../../../lib/zip/entry-paths.ts';
import { LOCAL, METHOD, nameOf } from '../../../lib/zip/header-fields.ts';
import { limitHint, type ArchiveLimits } from '../../../lib/zip/limits.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import { requireOpenable } from '../../../lib/zip/read-zip.ts';
import { referenceDeflate } from '../../../lib/zip/reference-deflate.ts';
import type { Container, Member, OpenMember } from '../container.ts';
import { BLOCK, writeBlockMap, type Block, type BlockMap, type MappedFile } from './block-map.ts';
import type { ContentTypes } from './content-types.ts';
import type { MsixPackage, PayloadEntry } from './package.ts';
import { PART } from './part-names.ts';
import { deflatedData, repackage, storedData, type MakeData, type NewData } from './repack.ts';

interface ContainerParts {
  readonly types: ContentTypes;
  readonly map: BlockMap;
  readonly manifest: Buffer;
}

/** The files in a package, or the packages in a bundle; throws `zip-too-many-entries`. */
export function openMsixContainer(pkg: MsixPackage, parts: ContainerParts, limits: ArchiveLimits): Container {
  const { entries } = pkg.archive;
  if (entries.length > limits.entries)
    throw invalid(
      'zip-too-many-entries',
      `${pkg.source.name}: ${entries.length} entries; ${limits.entries} allowed`,
      {
        hint: limitHint('entries'),
      },
    );
  return new MsixContainer(pkg, parts, limits);
}

class MsixContainer implements Container {
  readonly members: readonly Member[];
  private readonly byPath: ReadonlyMap<string, PayloadEntry>;

  constructor(
    private readonly pkg: MsixPackage,
    private readonly parts: ContainerParts,
    private readonly limits: ArchiveLimits,
  ) {
    const payload = pkg.payload.filter(({ entry }) => entry !== pkg.manifest);
    this.byPath = new Map(payload.map((each) => [each.name, each]));
    this.members = payload.map(({ name, entry }) => ({ path: name, size: entry.size }));
  }

  async *read(wanted: (member: Member) => boolean): AsyncGenerator<OpenMember> {
    const { source, archive } = this.pkg;
    for (const member of this.members) {
      const entry = this.byPath.get(member.path)?.entry;
      if (!entry || !wanted(member)) continue;
      requireOpenable(source, entry, this.limits);
      yield { member, content: await archive.open(entry) };
    }
  }

  async replace(contents: ReadonlyMap<string, ByteSource>): Promise<PatchedSource> {
    const { pkg, parts } = this;
    const replaced = new Map<ArchiveEntry, ByteSource>();
    for (const [path, content] of contents) {
      const entry = this.byPath.get(path)?.entry;
      if (!entry) throw new RangeError(`${pkg.source.name}: no such member`);
      replaced.set(entry, content);
    }
    const changes =
      pkg.kind === 'bundle' ? bundleChanges(pkg, parts, replaced) : packageChanges(pkg, parts, replaced);
    return repackage(pkg, parts.types.unsigned(), changes);
  }
}

/** New content of files, and the block map with their blocks. */
function packageChanges(
  pkg: MsixPackage,
  { map }: ContainerParts,
  replaced: ReadonlyMap<ArchiveEntry, ByteSource>,
): Map<ArchiveEntry, MakeData> {
  requireBlockMapLast(pkg);
  const mapped = new Map<string, MappedFile>();
  const changes = new Map<ArchiveEntry, MakeData>();
  for (const { entry, name } of pkg.payload) {
    const content = replaced.get(entry);
    if (!content) continue;
    changes.set(entry, async () => {
      const { file, data } = await mappedData(entry, name, content, map.hash);
      mapped.set(name.toLowerCase(), file);
      return data;
    });
  }
  changes.set(pkg.blockMap, () => blockMapData(map, mapped));
  return changes;
}

/** New packages, the places and sizes of all of them in the manifest, and the block map with its blocks. */
function bundleChanges(
  pkg: MsixPackage,
  { map, manifest }: ContainerParts,
  replaced: ReadonlyMap<ArchiveEntry, ByteSource>,
): Map<ArchiveEntry, MakeData> {
  requireBlockMapLast(pkg);
  const packages = pkg.payload.filter(({ entry }) => entry !== pkg.manifest);
  if (packages.some(({ entry }) => entry.offset > pkg.manifest.offset))
    throw invalid('msix-layout', `${pkg.source.name}: its manifest does not follow its packages`, {
      hint: 'pack the bundle with MakeAppx',
    });
  const changes = new Map<ArchiveEntry, MakeData>(
    [...replaced].map(([entry, content]) => [entry, () => storedData(content)]),
  );
  const mapped = new Map<string, MappedFile>();
  changes.set(pkg.manifest, async (starts) => {
    const places = new Map(
      packages.map(({ entry, name }) => [
        name.toLowerCase(),
        { start: starts.get(entry) ?? 0, size: replaced.get(entry)?.size ?? entry.size },
      ]),
    );
    const content = new BufferSource(withPlaces(manifest, places, pkg.source.name), pkg.source.name);
    const { file, data } = await mappedData(pkg.manifest, PART.bundleManifest, content, map.hash);
    mapped.set(file.name.toLowerCase(), file);
    return data;
  });
  changes.set(pkg.blockMap, () => blockMapData(map, mapped));
  return changes;
}

interface PackageRange {
  readonly start: number;
  readonly size: number;
}

const withPlaces = (manifest: Buffer, places: ReadonlyMap<string, PackageRange>, what: string): Buffer =>
  editAttributes(
    manifest,
    'Package',
    (attributes) => {
      const fileName = (attributes.get('FileName') ?? '').replaceAll('\\', '/');
      const place = places.get(fileName.toLowerCase());
      return place
        ? new Map([
            ['Offset', `${place.start}`],
            ['Size', `${place.size}`],
          ])
        : new Map();
    },
    `${what}: manifest`,
  );

function requireBlockMapLast(pkg: MsixPackage): void {
  if (pkg.payload.some(({ entry }) => entry.offset > pkg.blockMap.offset))
    throw invalid('msix-layout', `${pkg.source.name}: ${shown(PART.blockMap)} does not follow the files`, {
      hint: 'pack it with MakeAppx',
    });
}

/** Content as MakeAppx packs it, each block for itself, or stored if the old content was; and its blocks. */
async function mappedData(
  old: ArchiveEntry,
  name: string,
  content: ByteSource,
  hash: DigestName,
): Promise<{ file: MappedFile; data: NewData }> {
  const deflated = old.method === METHOD.deflated;
  const blocks: Block[] = [];
  const compressed: Buffer[] = [];
  const whole = createHash(hash);
  let crc = 0;
  for (let at = 0; at < content.size; at += BLOCK) {
    const bytes = await content.read(at, Math.min(BLOCK, content.size - at));
    const part = deflated ? withoutEnd(referenceDeflate(bytes, { flushed: true })) : null;
    if (part) compressed.push(part);
    blocks.push({ hash: createHash(hash).update(bytes).digest(), size: part?.length ?? null });
    whole.update(bytes);
    crc = crc32(bytes, crc);
  }
  const { size } = content;
  const fileHash = blocks.length > 1 ? whole.digest() : null;
  const file = { name, size, headerSize: LOCAL.size + nameOf(old.local, LOCAL).length, blocks, fileHash };
  if (!deflated)
    return { file, data: { method: METHOD.stored, crc32: crc, size, compressedSize: size, data: content } };
  const data = new BufferSource(Buffer.concat([...compressed, END]), name);
  return { file, data: { method: METHOD.deflated, crc32: crc, size, compressedSize: data.size, data } };
}

/** The empty last block of a deflate stream. */
const END = Buffer.from([3, 0]);

const withoutEnd = (stream: Buffer): Buffer => stream.subarray(0, -END.length);

/** The block map with other entries for some files. */
function blockMapData(map: BlockMap, changed: ReadonlyMap<string, MappedFile>): NewData {
  const files = map.files.map((file) => changed.get(file.name.toLowerCase()) ?? file);
  const xml = writeBlockMap({ ...map, files });
  return deflatedData(xml, referenceDeflate(xml, { flushed: true }));
}
