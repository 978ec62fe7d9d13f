import { deflateBound } from './deflate.ts';
import type { CentralEntry } from './central-directory.ts';
import { descriptorLength, type ArchiveEntry } from './local-headers.ts';
import { shown } from './entry-paths.ts';
import {
  CENTRAL,
  DESCRIPTOR_SIGNATURE,
  FLAG,
  LOCAL,
  MAX32,
  readValues,
  writeValues,
  type HeaderValues,
} from './header-fields.ts';

/** What changes when an entry's content does. Sizes in bytes. */
export type ContentValues = Omit<HeaderValues, 'offset'>;

/**
 * Whether an entry needs 64-bit sizes. This follows from its uncompressed size alone, so that the length of a local
 * header is known before the data is compressed.
 */
const isLarge = (size: number): boolean => deflateBound(size) >= MAX32;

/**
 * The local header of `entry` with CRC-32 and sizes of new content, and everything else as it was. If a data descriptor
 * follows and the header has a zero instead of a value, the zero stays.
 */
export function updatedLocalHeader(entry: ArchiveEntry, values: ContentValues): Buffer {
  const where = `entry ${shown(entry.path)}: local header`;
  const old = readValues(entry.local, LOCAL, () => where);
  const streamed = (entry.flags & FLAG.descriptor) !== 0;
  const value = (before: number, now: number): number => (streamed && before === 0 ? 0 : now);
  const now = {
    crc32: value(old.crc32, values.crc32),
    size: value(old.size, values.size),
    compressedSize: value(old.compressedSize, values.compressedSize),
    offset: 0,
  };
  return writeValues(entry.local, LOCAL, now, where, isLarge(values.size));
}

/** The data descriptor of `entry` with new content, in the form that it had; empty if it had none. */
export function updatedDescriptor({ descriptor }: ArchiveEntry, values: ContentValues): Buffer {
  if (!descriptor) return Buffer.alloc(0);
  const wide = descriptor.wide || isLarge(values.size);
  const result = Buffer.alloc(descriptorLength({ signed: descriptor.signed, wide }));
  let at = descriptor.signed ? result.writeUInt32LE(DESCRIPTOR_SIGNATURE, 0) : 0;
  at = result.writeUInt32LE(values.crc32, at);
  for (const size of [values.compressedSize, values.size])
    at = wide ? result.writeBigUInt64LE(BigInt(size), at) : result.writeUInt32LE(size, at);
  return result;
}

/** The central header of `entry` with new content or at another offset. */
export const updatedCentralHeader = (entry: CentralEntry, values: HeaderValues): Buffer =>
  writeValues(entry.central, CENTRAL, values, `entry ${shown(entry.path)}: central header`);
