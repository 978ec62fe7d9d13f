import { promisify } from 'node:util';
import { constants, crc32, deflateRaw } from 'node:zlib';
import type { ByteRange } from '../bytes/byte-range.ts';
import { readTransientChunks } from '../bytes/read-chunks.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { PatchedSource } from '../bytes/patched-source.ts';
import { deflateBound, LEVEL } from './deflate.ts';
import type { Boundary, DeflateMap } from './deflate-block-scanner.ts';
import { inflating, isUnsound } from './inflate.ts';

const deflate = promisify(deflateRaw);

/** How far back deflate looks, in bytes (RFC 1951, section 2). */
const REACH = 32 * 1024;
/** No more than this is packed anew at each end, in bytes: else nothing much is gained. */
const MOST_ANEW = 4 * 1024 * 1024;
/** Inflated into at a time when the result is compared, in bytes. */
const ROOM = 64 * 1024;
/** So many bytes before a boundary are searched for a way to come out at its bit. */
const MOST_LITERALS = 16 * 1024;

/** What new content has in common with the old, and how the old is packed. */
export interface Reuse {
  readonly map: DeflateMap;
  /** Bytes that stand in both at the same place. */
  readonly kept: ByteRange;
}

export interface Splice {
  /** The new packed data, made of the old. */
  readonly packed: PatchedSource;
  /** Of the content. */
  readonly crc32: number;
  /** Inflates the packed data and compares: whether they are the content. Nothing may become of them before. */
  readonly holds: () => Promise<boolean>;
}

/**
 * Packs content that differs from the old only in places, out of the old packed bytes: whole blocks of them
 * are taken over where all that they can refer to is unchanged, and only what lies around them is packed
 * anew. Null where it cannot be done. `packed` is the old packed data.
 *
 * The same content and the same old packed bytes give the same result.
 */
export async function splice(content: ByteSource, packed: ByteSource, reuse: Reuse): Promise<Splice | null> {
  // Else it is the map of something else.
  const plan = Math.ceil(reuse.map.end.bit / 8) === packed.size ? planOf(content.size, reuse) : null;
  if (!plan) return null;
  const before = await packBefore(content, plan.from);
  if (!before) return null;
  const spliced = PatchedSource.of(packed, [
    before.bytes,
    ...keptParts(reuse.map, plan, before.bits),
    await packBehind(content, plan.to),
  ]);
  return { packed: spliced, crc32: await sumOf(content), holds: () => isPacked(spliced, content) };
}

/** The blocks from one boundary to another. */
interface Plan {
  readonly from: Boundary;
  readonly to: Boundary;
}

function planOf(size: number, { map, kept }: Reuse): Plan | null {
  const first = kept.start === 0 ? 0 : kept.start + REACH;
  const from = map.boundaries.find(({ at }) => at >= first);
  const to = map.end.at <= kept.end ? map.end : map.boundaries.findLast(({ at }) => at <= kept.end);
  if (!from || !to || to.bit <= from.bit) return null;
  return from.at > MOST_ANEW || size - to.at > MOST_ANEW ? null : { from, to };
}

/** Collects bits as deflate has them: the lowest of each byte first. */
class Bits {
  private readonly bytes: number[] = [];
  private byte = 0;
  private count = 0;

  /** A number, its lowest bit first. */
  number(value: number, width: number): void {
    for (let bit = 0; bit < width; bit += 1) this.bit((value >>> bit) & 1);
  }

  /** A Huffman code, its highest bit first. */
  code(value: number, width: number): void {
    for (let bit = width - 1; bit >= 0; bit -= 1) this.bit((value >>> bit) & 1);
  }

  private bit(bit: number): void {
    this.byte |= bit << this.count;
    this.count += 1;
    if (this.count < 8) return;
    this.bytes.push(this.byte);
    [this.byte, this.count] = [0, 0];
  }

  /** The whole bytes, and the bits that are over: as many as the boundary's place in its byte. */
  end(): { whole: Buffer; over: number } {
    return { whole: Buffer.from(this.bytes), over: this.byte };
  }
}

/** From this value on, a literal of the fixed code takes 9 bits; others take 8 (RFC 1951, 3.2.6). */
const LONG_LITERAL = 144;

/**
 * Packs the bytes before a boundary so that they end at its very bit: the last of them in a block of fixed
 * codes, of which each literal from 144 on moves the end by one bit. Null where there are too few of those.
 */
async function packBefore(
  content: ByteSource,
  { at, bit }: Boundary,
): Promise<{ bytes: Buffer; bits: number } | null> {
  const raw = await content.read(0, at);
  const phase = bit % 8;
  const start = phase === 0 ? at : literalsFrom(raw, phase);
  if (start === null) return null;
  const packed = start === 0 ? Buffer.alloc(0) : await pack(raw.subarray(0, start), constants.Z_SYNC_FLUSH);
  if (phase === 0) return { bytes: packed, bits: 0 };
  const { whole, over } = fixedBlock(raw.subarray(start));
  return { bytes: Buffer.concat([packed, whole]), bits: over };
}

const pack = (raw: Buffer, finishFlush: number): Promise<Buffer> =>
  deflate(raw, { level: LEVEL, finishFlush, chunkSize: deflateBound(raw.length) });

/** Where the literals have to begin: a block of them takes 3 + 7 bits, and 8 or 9 for each. */
function literalsFrom(raw: Buffer, phase: number): number | null {
  const wanted = (phase + 6) % 8;
  let long = 0;
  for (let start = raw.length; ; start -= 1) {
    if (long % 8 === wanted) return start;
    if (start === 0 || raw.length - start >= MOST_LITERALS) return null;
    if ((raw[start - 1] ?? 0) >= LONG_LITERAL) long += 1;
  }
}

function fixedBlock(literals: Buffer): { whole: Buffer; over: number } {
  const bits = new Bits();
  bits.number(0b010, 3);
  for (const literal of literals)
    if (literal < LONG_LITERAL) bits.code(0b00110000 + literal, 8);
    else bits.code(0b110010000 + literal - LONG_LITERAL, 9);
  bits.code(0, 7);
  return bits.end();
}

/** The bits from one boundary to another: bytes that are not all theirs are made anew, the rest taken over. */
function keptParts(map: DeflateMap, { from, to }: Plan, before: number): (Buffer | ByteRange)[] {
  const changed = new Map<number, number>();
  const change = ({ bit, byte }: Boundary, how: (value: number, place: number) => number): void => {
    const at = Math.floor(bit / 8);
    changed.set(at, how(changed.get(at) ?? byte, bit % 8));
  };
  if (from.bit % 8 > 0) change(from, (value, place) => (value & ~((1 << place) - 1)) | before);
  // More follows: what was the last block is not the last any more.
  if (to === map.end) change(map.last, (value, place) => value & ~(1 << place));
  // The rest of the last byte is the beginning of an empty stored block: zeros.
  if (to.bit % 8 > 0) change(to, (value, place) => value & ((1 << place) - 1));
  const parts: (Buffer | ByteRange)[] = [];
  let done = Math.floor(from.bit / 8);
  for (const [at, value] of [...changed].sort(([one], [other]) => one - other)) {
    parts.push({ start: done, end: at }, Buffer.of(value));
    done = at + 1;
  }
  const end = Math.ceil(to.bit / 8);
  if (done < end) parts.push({ start: done, end });
  parts.push(emptyBlock(to.bit % 8));
  return parts;
}

/** The rest of an empty stored block that begins at a bit of the byte before, whose other bits are 0. */
const emptyBlock = (place: number): Buffer =>
  Buffer.from([...(place === 0 || place > 5 ? [0] : []), 0x00, 0x00, 0xff, 0xff]);

/** Packs what follows the kept blocks, to the end of the stream. */
const packBehind = async (content: ByteSource, { at }: Boundary): Promise<Buffer> =>
  pack(await content.read(at, content.size - at), constants.Z_FINISH);

async function sumOf(content: ByteSource): Promise<number> {
  let sum = 0;
  for await (const chunk of readTransientChunks(content)) sum = crc32(chunk, sum);
  return sum;
}

/** Whether the packed data inflates to exactly the content. */
async function isPacked(packed: ByteSource, content: ByteSource): Promise<boolean> {
  const inflate = inflating(readTransientChunks(packed), ROOM);
  let at = 0;
  try {
    for await (const chunk of inflate as AsyncIterable<Buffer>) {
      const end = at + chunk.length;
      if (end > content.size || !chunk.equals(await content.read(at, chunk.length))) return false;
      at = end;
    }
  } catch (error) {
    if (isUnsound(error)) return false;
    throw error;
  }
  return at === content.size && inflate.bytesWritten === packed.size;
}
