import { crc32 } from 'node:zlib';
import { BufferSource, type ByteSource } from '../../../lib/bytes/byte-source.ts';
import { ConcatenatedSource, whole } from '../../../lib/bytes/concatenated-source.ts';
import { DeltaBuilder } from '../../../lib/bytes/delta.ts';
import { PatchedSource } from '../../../lib/bytes/patched-source.ts';
import { readChunks } from '../../../lib/bytes/read-chunks.ts';
import { dosTimeOf } from '../../../lib/zip/edit-entries.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { LOCAL, MAX32, METHOD, nameOf } from '../../../lib/zip/header-fields.ts';
import type { ArchiveEntry } from '../../../lib/zip/local-headers.ts';
import {
  packageEnd,
  plainRecord,
  streamedRecords,
  widenedRecord,
  type StreamedEntry,
} from '../../../lib/zip/package-records.ts';
import { referenceDeflate } from '../../../lib/zip/reference-deflate.ts';
import type { MsixPackage } from './package.ts';

/** New content of an entry, as it lies in the file. */
export interface NewData extends Pick<StreamedEntry, 'method' | 'crc32' | 'size' | 'compressedSize'> {
  readonly data: ByteSource;
}

/** Content that is stored. */
export async function storedData(content: ByteSource): Promise<NewData> {
  let crc = 0;
  for await (const chunk of readChunks(content)) crc = crc32(chunk, crc);
  const { size } = content;
  return { method: METHOD.stored, crc32: crc, size, compressedSize: size, data: content };
}

/** Content that is deflated in one piece. */
export function deflatedData(content: Buffer, compressed: Buffer): NewData {
  const { length: size } = content;
  const data = new BufferSource(compressed, 'compressed');
  return { method: METHOD.deflated, crc32: crc32(content), size, compressedSize: data.size, data };
}

const tooLarge = (name: string): SignpipeError =>
  invalid('msix-too-large', `${name}: with signed files in it, it would have 4 GiB or more`, {
    hint: 'divide it into several packages',
  });

/** Collects a new package from its beginning to its end. */
class PackageWriter {
  private readonly delta = new DeltaBuilder();
  private readonly fresh: ByteSource[] = [];
  private readonly records: Buffer[] = [];
  /** Where the data of the entries written so far begin. */
  readonly places = new Map<ArchiveEntry, number>();

  constructor(private readonly source: ByteSource) {}

  /** Appends an entry as it is. */
  keep(entry: ArchiveEntry): void {
    this.records.push(plainRecord(entry, this.delta.size));
    this.places.set(entry, this.delta.size + entry.dataStart - entry.offset);
    this.delta.copy({ start: entry.offset, end: entry.end });
  }

  /** Appends an entry with the name and the time of an old one. */
  write(old: ArchiveEntry, { data, ...values }: NewData): void {
    if (Math.max(values.size, this.delta.size + data.size) >= MAX32) throw tooLarge(this.source.name);
    // As it is in the file, with its escapes.
    const name = nameOf(old.local, LOCAL).toString('latin1');
    const entry = { name, at: dosTimeOf(old), ...values };
    const { local, descriptor, record } = streamedRecords(entry, this.delta.size);
    this.records.push(record);
    this.places.set(old, this.delta.size + local.length);
    for (const part of [new BufferSource(local, name), data, new BufferSource(descriptor, name)])
      this.add(part);
  }

  /** The package with its directory. */
  finish(): PatchedSource {
    const offset = this.delta.size;
    const records = this.records.map(widenedRecord);
    const size = records.reduce((sum, { length }) => sum + length, 0);
    const end = packageEnd({ count: records.length, offset, size }, { widenDisks: true });
    this.add(new BufferSource(Buffer.concat([...records, end]), this.source.name));
    const fresh = new ConcatenatedSource(this.fresh.map(whole), this.source.name);
    return new PatchedSource(this.source, this.delta.delta, fresh);
  }

  private add(part: ByteSource): void {
    this.delta.insert(part.size);
    this.fresh.push(part);
  }
}

/** Makes new content of an entry, given where the data of the entries before it begin in the new package. */
export type MakeData = (places: ReadonlyMap<ArchiveEntry, number>) => NewData | Promise<NewData>;

/**
 * The package without its signature and with new content for some entries, as MakeAppx writes it: other entries stay byte
 * for byte, the directory has its values in 64 bits.
 */
export async function repackage(
  { source, archive, contentTypes: last }: MsixPackage,
  contentTypes: Buffer,
  changes: ReadonlyMap<ArchiveEntry, MakeData>,
): Promise<PatchedSource> {
  const writer = new PackageWriter(source);
  for (const entry of archive.layout) {
    if (entry === last) break;
    const make = changes.get(entry);
    if (make) writer.write(entry, await make(writer.places));
    else writer.keep(entry);
  }
  writer.write(last, deflatedData(contentTypes, referenceDeflate(contentTypes, { flushed: false })));
  return writer.finish();
}
