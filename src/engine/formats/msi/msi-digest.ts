import { createHash } from 'node:crypto';
import type { KnownDigest } from '../../../lib/asn1/oids.ts';
import { BufferSource } from '../../../lib/bytes/byte-source.ts';
import { whole, type SourceRange } from '../../../lib/bytes/concatenated-source.ts';
import { hashRanges } from '../../../lib/bytes/hash-and-compare.ts';
import type { CompoundEntry, CompoundFile, StorageEntry } from '../../../lib/compound-file/compound-file.ts';
import { isSignatureEntry } from './signature-streams.ts';

/*
 * Microsoft documents neither of the two digests; the rules were measured on what signtool writes.
 *
 * The metadata digest is over the names, CLSIDs, sizes, state bits and times of all entries, each storage before its
 * children. The digest that a signature states is over the metadata digest and then the content of all streams, with the
 * CLSID of each storage after its children. Streams of signatures are in neither, nor are the root's name, size and times.
 */

const utf16 = (name: string): Buffer => Buffer.from(name, 'utf16le');

/** What the digests cover of a storage, in their order: by the bytes of the names, shorter ones first. */
export function coveredChildren({ children }: StorageEntry): CompoundEntry[] {
  return children
    .filter((child) => !isSignatureEntry(child))
    .map((entry) => ({ entry, name: utf16(entry.name) }))
    .sort((one, other) => Buffer.compare(one.name, other.name))
    .map(({ entry }) => entry);
}

/** What the metadata digest covers of one entry. */
export function entryMetadata(entry: CompoundEntry, isRoot = false): Buffer {
  const parts = entry.kind === 'storage' ? [entry.clsid] : [sizeField(entry.size)];
  if (isRoot) return Buffer.concat([...parts, entry.state]);
  return Buffer.concat([utf16(entry.name), ...parts, entry.state, entry.created, entry.modified]);
}

/** The lower half of the size. */
function sizeField(size: number): Buffer {
  const field = Buffer.alloc(4);
  field.writeUInt32LE(size % 2 ** 32);
  return field;
}

function* metadataOf(storage: StorageEntry, isRoot: boolean): Generator<Buffer> {
  yield entryMetadata(storage, isRoot);
  for (const child of coveredChildren(storage))
    if (child.kind === 'storage') yield* metadataOf(child, false);
    else yield entryMetadata(child);
}

/** The digest over everything but the content of streams, which the stream `MsiDigitalSignatureEx` holds. */
export function metadataDigest({ root }: CompoundFile, hash: KnownDigest): Buffer {
  const digest = createHash(hash);
  for (const part of metadataOf(root, true)) digest.update(part);
  return digest.digest();
}

/** The content of all covered streams and the CLSIDs of all storages, in the order of the digest. */
export function contentRanges(file: CompoundFile, storage: StorageEntry = file.root): SourceRange[] {
  const ranges = coveredChildren(storage).flatMap((child) =>
    child.kind === 'storage' ? contentRanges(file, child) : [whole(file.openStream(child))],
  );
  return [...ranges, whole(new BufferSource(storage.clsid, 'CLSID'))];
}

/** The digest that a signature states; `withMetadata` unless the signed file has no stream `MsiDigitalSignatureEx`. */
export async function msiDigest(
  file: CompoundFile,
  hash: KnownDigest,
  withMetadata: boolean,
): Promise<Buffer> {
  const metadata = withMetadata ? [whole(new BufferSource(metadataDigest(file, hash), 'metadata'))] : [];
  return (await hashRanges([...metadata, ...contentRanges(file)], { algorithm: hash })).digest;
}
