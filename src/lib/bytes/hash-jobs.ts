import { createHash } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';
import { Checksum16 } from './checksum16.ts';
import { truncated, type Extent } from './extents.ts';

/** Reads extents in order and hashes, sums and copies their bytes; see `HashOptions`. */
interface HashJob {
  readonly extents: readonly Extent[];
  readonly algorithm?: string;
  readonly checksum16?: boolean;
  readonly zeros?: number;
  /** A file descriptor open for writing; the bytes are written from its beginning. */
  readonly copyTo?: number | undefined;
}

interface HashResult {
  /** Empty if no algorithm was named. */
  readonly digest: Uint8Array;
  /** The fields of a `Checksum16`; of no bytes if none was asked for. */
  readonly checksum16: { readonly sum: number; readonly length: number };
}

interface CompareJob {
  readonly one: readonly Extent[];
  readonly other: readonly Extent[];
}

/** What a hash worker does. The work is synchronous: the thread does nothing else meanwhile. */
export const hashJobs = { hash: hashExtents, compare: compareExtents };
export type HashJobs = typeof hashJobs;

/** Bytes of one step: small enough to stay in the second-level cache between being read and being used. */
const STEP = 256 * 1024;

function hashExtents({ extents, algorithm, checksum16, zeros = 0, copyTo }: HashJob): HashResult {
  const hash = algorithm === undefined ? undefined : createHash(algorithm);
  const checksum = new Checksum16();
  let at = 0;
  for (const chunk of readExtents(extents)) {
    hash?.update(chunk);
    if (checksum16) checksum.add(chunk);
    if (copyTo !== undefined) writeFully(copyTo, chunk, at);
    at += chunk.length;
  }
  const digest = hash?.update(Buffer.alloc(zeros)).digest() ?? Buffer.alloc(0);
  return { digest, checksum16: { sum: checksum.sum, length: checksum.length } };
}

function writeFully(fd: number, chunk: Uint8Array, at: number): void {
  for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done, chunk.length - done, at + done);
}

/** The number of leading bytes in which the two are equal. */
function compareExtents({ one, other }: CompareJob): number {
  const others = readExtents(other);
  let done = 0;
  for (const chunk of readExtents(one)) {
    const equal = equalLength(chunk, others.next().value ?? Buffer.alloc(0));
    done += equal;
    if (equal < chunk.length) break;
  }
  return done;
}

/** The number of leading bytes in which two chunks are equal. */
export function equalLength(one: Uint8Array, other: Uint8Array): number {
  if (Buffer.compare(one, other) === 0) return one.length;
  const at = one.findIndex((byte, index) => byte !== other[index]);
  return at === -1 ? one.length : at;
}

/**
 * The bytes of the extents in steps of equal length, except the last: a step does not end where an extent ends. All
 * steps use the same memory.
 */
function* readExtents(extents: readonly Extent[]): Generator<Uint8Array, undefined> {
  const memory = Buffer.allocUnsafeSlow(STEP);
  let filled = 0;
  for (const extent of extents) {
    for (let at = 0; at < lengthOf(extent);) {
      const length = Math.min(STEP - filled, lengthOf(extent) - at);
      fill(memory.subarray(filled, filled + length), extent, at);
      at += length;
      filled += length;
      if (filled === STEP) yield memory;
      filled %= STEP;
    }
  }
  if (filled > 0) yield memory.subarray(0, filled);
}

const lengthOf = (extent: Extent): number =>
  'bytes' in extent ? extent.bytes.length : extent.end - extent.start;

function fill(target: Buffer, extent: Extent, at: number): void {
  if ('bytes' in extent) {
    target.set(extent.bytes.subarray(at, at + target.length));
    return;
  }
  for (let done = 0; done < target.length;) {
    const count = readSync(extent.fd, target, done, target.length - done, extent.start + at + done);
    if (count === 0) throw truncated(extent.name);
    done += count;
  }
}
