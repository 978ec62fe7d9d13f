import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import type { ByteRange } from './byte-range.ts';
import type { SourceRange } from './concatenated-source.ts';
import { equalLength, type HashResult, type MemoryExtent, type Extent } from './extents.ts';
import { scan } from './read-chunks.ts';
import type { ByteSource } from './byte-source.ts';
import { HAS_THREADS, onThread } from './worker-pool.ts';
import { WordSum } from './checksum16.ts';

/** So many bytes are hashed before a thread has started, and this one may well wait for that. */
const WORTH_A_THREAD = 16 * 1024 * 1024;

/** What is in memory has to be copied for another thread: only so much, in bytes. */
const MOST_COPIED = 1024 * 1024;

/** Bytes that are taken at once on this thread, in memory. */
const STEP = 1024 * 1024;

export interface HashOptions {
  /** As `createHash` names it; without one the digest is empty. */
  readonly algorithm?: string;
  /** Whether to sum the words too; otherwise the sum is of nothing. */
  readonly summed?: boolean;
  /** So many zero bytes are hashed after the parts, and not summed. */
  readonly zeros?: number;
  /** An empty file that gets the bytes of the parts too. */
  readonly copyTo?: FileHandle;
}

export interface Hashed {
  readonly digest: Buffer;
  readonly sum: WordSum;
}

/**
 * Reads the parts once, one after another, and hashes, sums and copies what they hold. Where they are
 * large and another thread can read them, it does all of that, and this one is free.
 */
export async function hashParts(parts: readonly SourceRange[], options: HashOptions): Promise<Hashed> {
  const runs = runsFor(parts);
  if (!runs) return hashHere(parts, options);
  const { copyTo, ...others } = options;
  const result = await onThread({ ...others, kind: 'hash', runs, copyTo: copyTo?.fd });
  const { digest, sum } = result as HashResult;
  return { digest: Buffer.from(digest), sum: new WordSum(sum.sum, sum.length) };
}

async function hashHere(
  parts: readonly SourceRange[],
  { algorithm, summed, zeros = 0, copyTo }: HashOptions,
): Promise<Hashed> {
  const hash = algorithm === undefined ? undefined : createHash(algorithm);
  const sum = new WordSum();
  const take = (chunk: Uint8Array): void => {
    hash?.update(chunk);
    if (summed) sum.add(chunk);
  };
  for (const part of parts) {
    const ready = copyTo ? null : inMemory(part);
    if (ready) ready.forEach(({ bytes }) => take(bytes));
    else
      for await (const chunk of scan(part.source, part.start, part.end)) {
        take(chunk);
        await copyTo?.writeFile(chunk);
      }
  }
  return { digest: hash?.update(Buffer.alloc(zeros)).digest() ?? Buffer.alloc(0), sum };
}

/** A part that is small and in memory needs no waiting, which takes longer than hashing a small program. */
function inMemory({ source, start, end }: SourceRange): MemoryExtent[] | null {
  const runs = end - start <= STEP ? source.extents?.(start, end) : null;
  return runs?.every((run) => 'bytes' in run) ? runs : null;
}

/** Where two sources first differ, of these spans of both; undefined where they do not. */
export async function firstDifference(
  one: ByteSource,
  other: ByteSource,
  spans: readonly ByteRange[],
): Promise<number | undefined> {
  const [runs, others] = [one, other].map((source) => runsFor(spans.map((span) => ({ source, ...span }))));
  if (!runs || !others) return firstDifferenceHere(one, other, spans);
  return placeIn(spans, (await onThread({ kind: 'compare', one: runs, other: others })) as number);
}

async function firstDifferenceHere(
  one: ByteSource,
  other: ByteSource,
  spans: readonly ByteRange[],
): Promise<number | undefined> {
  for (const { start, end } of spans) {
    for (let at = start; at < end; at += STEP) {
      const length = Math.min(STEP, end - at);
      const [a, b] = await Promise.all([one.read(at, length), other.read(at, length)]);
      const equal = equalLength(a, b);
      if (equal < length) return at + equal;
    }
  }
  return undefined;
}

/** Where so many bytes of the spans, one after another, come to an end; undefined when that is all of them. */
function placeIn(spans: readonly ByteRange[], count: number): number | undefined {
  let rest = count;
  for (const { start, end } of spans) {
    if (rest < end - start) return start + rest;
    rest -= end - start;
  }
  return undefined;
}

const sizeOf = (parts: readonly SourceRange[]): number =>
  parts.reduce((total, { start, end }) => total + end - start, 0);

/** Where the parts lie, if it is worth a thread and one can read them; else null. */
function runsFor(parts: readonly SourceRange[]): Extent[] | null {
  if (!HAS_THREADS || sizeOf(parts) < WORTH_A_THREAD) return null;
  const runs: Extent[] = [];
  for (const { source, start, end } of parts) {
    const some = source.extents?.(start, end);
    if (!some) return null;
    runs.push(...some);
  }
  return handedOver(runs);
}

/** What is in memory is copied: a view into it would take all of what it is a view into along. */
function handedOver(runs: readonly Extent[]): Extent[] | null {
  const copied = runs.reduce((total, run) => total + ('bytes' in run ? run.bytes.length : 0), 0);
  if (copied > MOST_COPIED) return null;
  return runs.map((run) => ('bytes' in run ? { bytes: Uint8Array.from(run.bytes) } : run));
}
