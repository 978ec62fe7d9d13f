import { createHash } from 'node:crypto';
import { readSync, writeSync } from 'node:fs';
import { SignpipeError } from '../errors.ts';
import { WordSum } from './checksum16.ts';

/** The bytes [start, end) of an open file; `name` is for messages. */
export interface FileExtent {
  /** The same number in every thread of the process; open until whoever reads it is done. */
  readonly fd: number;
  readonly start: number;
  readonly end: number;
  readonly name: string;
}

/** Bytes in memory. */
export interface MemoryExtent {
  readonly bytes: Uint8Array;
}

/**
 * Where bytes lie, as plain data: what one thread tells another to read. A run is never empty and
 * runs follow one another without a gap.
 */
export type Extent = FileExtent | MemoryExtent;

/** Reads runs from the first to the last and does something with what they hold; see `HashOptions`. */
export interface HashJob {
  readonly kind: 'hash';
  readonly runs: readonly Extent[];
  readonly algorithm?: string;
  readonly summed?: boolean;
  readonly zeros?: number;
  /** A file open for writing, which gets the bytes from its beginning on. */
  readonly copyTo: number | undefined;
}

export interface HashResult {
  /** Empty when no algorithm was named. */
  readonly digest: Uint8Array;
  /** Of nothing when no sum was wanted. */
  readonly sum: { readonly sum: number; readonly length: number };
}

/** How many bytes the runs of one and of the other have in common, from the first on. */
export interface CompareJob {
  readonly kind: 'compare';
  readonly one: readonly Extent[];
  readonly other: readonly Extent[];
}

export type Job = HashJob | CompareJob;
export type Result = HashResult | number;

/** Bytes of one step: what the processor's second cache holds between being read and being used. */
const STEP = 256 * 1024;

/** A file that was shorter than it was a moment ago. */
export const truncated = (name: string): SignpipeError =>
  new SignpipeError('local', 'file-truncated', `${name}: became shorter while it was read`);

/** What a job asks for, on this very thread, which does nothing else meanwhile. */
export const doJob = (job: Job): Result => (job.kind === 'hash' ? hashRuns(job) : compareRuns(job));

function hashRuns({ runs, algorithm, summed, zeros = 0, copyTo }: HashJob): HashResult {
  const hash = algorithm === undefined ? undefined : createHash(algorithm);
  const sum = new WordSum();
  let at = 0;
  for (const chunk of stepsOf(runs)) {
    hash?.update(chunk);
    if (summed) sum.add(chunk);
    if (copyTo !== undefined) writeWhole(copyTo, chunk, at);
    at += chunk.length;
  }
  const digest = hash?.update(Buffer.alloc(zeros)).digest() ?? Buffer.alloc(0);
  return { digest, sum: { sum: sum.sum, length: sum.length } };
}

function writeWhole(fd: number, chunk: Uint8Array, at: number): void {
  for (let done = 0; done < chunk.length;) done += writeSync(fd, chunk, done, chunk.length - done, at + done);
}

function compareRuns({ one, other }: CompareJob): number {
  const others = stepsOf(other);
  let done = 0;
  for (const chunk of stepsOf(one)) {
    const equal = equalLength(chunk, others.next().value ?? Buffer.alloc(0));
    done += equal;
    if (equal < chunk.length) break;
  }
  return done;
}

/** How many bytes two chunks have in common, from the first on. */
export function equalLength(one: Uint8Array, other: Uint8Array): number {
  if (Buffer.compare(one, other) === 0) return one.length;
  const at = one.findIndex((byte, index) => byte !== other[index]);
  return at === -1 ? one.length : at;
}

/**
 * The bytes of the runs, every step but the last of the same length: cut where the count says, not
 * where a run ends. The memory is used again for each.
 */
function* stepsOf(runs: readonly Extent[]): Generator<Uint8Array, undefined> {
  const memory = Buffer.allocUnsafeSlow(STEP);
  let filled = 0;
  for (const run of runs) {
    for (let at = 0; at < lengthOf(run);) {
      const length = Math.min(STEP - filled, lengthOf(run) - at);
      fill(memory.subarray(filled, filled + length), run, at);
      at += length;
      filled += length;
      if (filled === STEP) yield memory;
      filled %= STEP;
    }
  }
  if (filled > 0) yield memory.subarray(0, filled);
}

const lengthOf = (run: Extent): number => ('bytes' in run ? run.bytes.length : run.end - run.start);

function fill(target: Buffer, run: Extent, at: number): void {
  if ('bytes' in run) {
    target.set(run.bytes.subarray(at, at + target.length));
    return;
  }
  for (let done = 0; done < target.length;) {
    const count = readSync(run.fd, target, done, target.length - done, run.start + at + done);
    if (count === 0) throw truncated(run.name);
    done += count;
  }
}
