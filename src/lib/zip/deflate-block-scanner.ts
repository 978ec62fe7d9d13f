/** A place between two blocks of a deflate stream. */
export interface BlockBoundary {
  /** Bits of the stream before it. */
  readonly bit: number;
  /** Bytes inflated before it. */
  readonly at: number;
  /** The byte of the stream in which the bit lies; 0 behind the last one. */
  readonly byte: number;
}

/** Where the blocks of a deflate stream lie. */
export interface DeflateBlocks {
  /** Some of the places between blocks, in order, the stream's beginning first. */
  readonly boundaries: readonly BlockBoundary[];
  /** Where the last block begins: its first bit tells that it is the last. */
  readonly last: BlockBoundary;
  readonly end: BlockBoundary;
}

/** Boundaries closer than this are not all told, in inflated bytes: a stream may have a block for every bit. */
const APART = 32 * 1024;
/** No code, and no block's header, is longer than this, in bytes (RFC 1951, 3.2.7: 2,300 bits). */
const LONGEST = 512;
/** So many bytes of the stream are looked at together. */
const PIECE = 64 * 1024;

const TYPE = { stored: 0, fixed: 1, dynamic: 2 } as const;
const END_OF_BLOCK = 256;
/** RFC 1951, 3.2.5: lengths of codes 257 to 285, and how many bits follow each. */
const LENGTHS = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
  227, 258,
];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/** In what order a dynamic block tells the lengths of the codes that tell lengths. */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Codes up to this many bits are looked up at once. */
const QUICK = 11;
const LONGEST_CODE = 15;

/**
 * What a symbol stands for, as a number: how many extra bits follow its code, twice (bits 0 to 4, and 5 to
 * 8); its kind (bits 9 and 10); from bit 11 on how many bytes it inflates to, not counting the extra bits, or
 * its value. With the length of the code added, bits 0 to 4 tell how many bits it takes in all.
 */
const meaning = (value: number, extra = 0, kind = 0): number => (value << 11) | kind | (extra << 5) | extra;
const ALL_BITS = 31;
const extraOf = (entry: number): number => (entry >>> 5) & 15;
const valueOf = (entry: number): number => entry >>> 11;
const KIND = { literal: 0, length: 1 << 9, end: 2 << 9, bad: 3 << 9, mask: 3 << 9 } as const;

const LITERALS = Int32Array.from({ length: 288 }, (_, symbol) => {
  if (symbol < END_OF_BLOCK) return meaning(1);
  if (symbol === END_OF_BLOCK) return meaning(0, 0, KIND.end);
  const [length, extra] = [LENGTHS[symbol - 257], LENGTH_BITS[symbol - 257] ?? 0];
  return length === undefined ? meaning(0, 0, KIND.bad) : meaning(length, extra, KIND.length);
});
const DISTANCES = Int32Array.from({ length: 32 }, (_, symbol) =>
  symbol < 30 ? meaning(symbol, symbol < 4 ? 0 : (symbol >>> 1) - 1) : meaning(0, 0, KIND.bad),
);
const CODE_LENGTHS = Int32Array.from({ length: 19 }, (_, symbol) => meaning(symbol));

/**
 * A Huffman code (RFC 1951, 3.2.2). `quick` has, by the next bits, the meaning of the symbol and the length
 * of its code, or 0 for a longer code, which is then found by counting, length by length.
 */
class Code {
  readonly quick = new Int32Array(1 << QUICK);
  private readonly counts = new Uint16Array(LONGEST_CODE + 1);
  private readonly symbols = new Uint16Array(320);
  private readonly offsets = new Uint16Array(LONGEST_CODE + 2);
  private readonly next = new Uint16Array(LONGEST_CODE + 2);

  constructor(private readonly meanings: Int32Array) {}

  /** Becomes the code in which each symbol has so many bits. */
  set(lengths: Uint8Array): this {
    const { counts, symbols, offsets, next } = this;
    counts.fill(0);
    this.quick.fill(0);
    for (const length of lengths) counts[length] = (counts[length] as number) + 1;
    counts[0] = offsets[1] = next[1] = 0;
    for (let length = 1; length <= LONGEST_CODE; length += 1) {
      const count = counts[length] as number;
      offsets[length + 1] = (offsets[length] as number) + count;
      next[length + 1] = ((next[length] as number) + count) << 1;
    }
    for (let symbol = 0; symbol < lengths.length; symbol += 1) {
      const length = lengths[symbol] as number;
      if (length === 0) continue;
      symbols[offsets[length] as number] = symbol;
      offsets[length] = (offsets[length] as number) + 1;
      this.enter(symbol, length, next[length] as number);
      next[length] = (next[length] as number) + 1;
    }
    return this;
  }

  private enter(symbol: number, length: number, code: number): void {
    if (length > QUICK) return;
    let reversed = 0;
    for (let bit = 0; bit < length; bit += 1) reversed |= ((code >>> bit) & 1) << (length - 1 - bit);
    const entry = (this.meanings[symbol] as number) + length;
    for (let at = reversed; at < 1 << QUICK; at += 1 << length) this.quick[at] = entry;
  }

  /** A literal and what follows it become one entry, where the codes of both can be seen at once. */
  join(): this {
    const { quick } = this;
    // Backwards: what stands at a lower index is a single symbol still.
    for (let at = (1 << QUICK) - 1; at >= 0; at -= 1) {
      const first = quick[at] as number;
      if (first === 0 || (first & KIND.mask) !== KIND.literal) continue;
      const second = quick[at >>> (first & ALL_BITS)] as number;
      const length = (first & ALL_BITS) + (second & ALL_BITS) - extraOf(second);
      if (second !== 0 && length <= QUICK) quick[at] = first + second;
    }
    return this;
  }

  /** The same for a code of any length; 0 where there is none. */
  slow(bits: number): number {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length <= LONGEST_CODE; length += 1) {
      code |= (bits >>> (length - 1)) & 1;
      const count = this.counts[length] as number;
      if (code - count < first)
        return (this.meanings[this.symbols[index + code - first] as number] as number) + length;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return 0;
  }
}

const FIXED = {
  literals: new Code(LITERALS)
    .set(
      Uint8Array.from({ length: 288 }, (_, symbol) =>
        symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8,
      ),
    )
    .join(),
  distances: new Code(DISTANCES).set(new Uint8Array(30).fill(5)),
};

interface Packed {
  readonly literals: Code;
  readonly distances: Code;
}

interface Stored {
  /** Bytes that are still to come. */
  readonly rest: number;
}

/** More blocks than one for so many bytes of the stream are nobody's way of packing. */
const BYTES_A_BLOCK = 64;

/**
 * Follows a deflate stream (RFC 1951), as its bytes come, to see where its blocks lie; what it inflates to is
 * somebody else's to find out. It judges nothing: a stream that it cannot follow has no map.
 */
export class DeflateBlockScanner {
  private readonly work = Buffer.alloc(PIECE + 2 * LONGEST);
  private readonly view = new DataView(this.work.buffer, this.work.byteOffset, this.work.length);
  /** Bytes in `work`; those before were read. */
  private filled = 0;
  /** Bytes of the stream before `work`. */
  private base = 0;
  /** Bits of `work` that were read. */
  private bit = 0;
  private at = 0;
  private block: Packed | Stored | null = null;
  private readonly codes = new Code(CODE_LENGTHS);
  private readonly packed = { literals: new Code(LITERALS), distances: new Code(DISTANCES) };
  private blocks = 0;
  private readonly boundaries: BlockBoundary[] = [];
  private last: BlockBoundary | null = null;
  private end: BlockBoundary | null = null;
  private failed = false;

  /** Takes the next bytes of the stream. */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.failed; at += PIECE)
      this.pushPiece(bytes.subarray(at, at + PIECE));
  }

  private pushPiece(bytes: Buffer): void {
    // Behind the end there is nothing to follow.
    if (this.end) this.failed = true;
    const read = this.bit >>> 3;
    this.work.copyWithin(0, read, this.filled);
    const rest = this.filled - read;
    bytes.copy(this.work, rest);
    this.filled = rest + bytes.length;
    this.base += read;
    this.bit &= 7;
    this.run((this.filled - LONGEST) * 8);
  }

  /** The map, when the stream ended with the last byte that was pushed; else null. */
  finish(): DeflateBlocks | null {
    this.work.fill(0, this.filled);
    this.run(this.filled * 8);
    const { boundaries, last, end } = this;
    const length = this.base + this.filled;
    if (this.failed || !last || !end || Math.ceil(end.bit / 8) !== length) return null;
    return { boundaries, last, end };
  }

  /** Reads as long as there are so many bits. */
  private run(limit: number): void {
    while (!this.end && !this.failed && this.bit < limit) {
      if (!this.block) this.begin();
      else if ('literals' in this.block) this.passSymbols(this.block, limit);
      else if (!this.passStored(this.block)) return;
    }
  }

  private here(): BlockBoundary {
    const behind = this.bit >>> 3 >= this.filled;
    return {
      bit: this.base * 8 + this.bit,
      at: this.at,
      byte: behind ? 0 : (this.work[this.bit >>> 3] ?? 0),
    };
  }

  private take(count: number): number {
    const bits = bitsAt(this.view, this.bit) & ((1 << count) - 1);
    this.bit += count;
    return bits;
  }

  private begin(): void {
    const here = this.here();
    this.blocks += 1;
    if (this.blocks > 64 + here.bit / 8 / BYTES_A_BLOCK) this.failed = true;
    if (here.at >= (this.boundaries.at(-1)?.at ?? -APART) + APART) this.boundaries.push(here);
    if (this.take(1) === 1) this.last = here;
    const type = this.take(2);
    if (type === TYPE.stored) this.beginStored();
    else if (type === TYPE.fixed) this.block = FIXED;
    else if (type === TYPE.dynamic) this.block = this.dynamic();
    else this.failed = true;
  }

  private beginStored(): void {
    this.bit = (this.bit + 7) & ~7;
    const byte = this.bit >>> 3;
    const rest = this.work.readUInt16LE(byte);
    if ((rest ^ this.work.readUInt16LE(byte + 2)) !== 0xffff) this.failed = true;
    this.bit += 32;
    this.block = { rest };
    // The stream may end here, so that nothing is there to go on with.
    if (rest === 0) this.endBlock();
  }

  /** RFC 1951, 3.2.7. */
  private dynamic(): Packed {
    const [literals, distances, codes] = [this.take(5) + 257, this.take(5) + 1, this.take(4) + 4];
    const own = new Uint8Array(19);
    for (const place of ORDER.slice(0, codes)) own[place] = this.take(3);
    const lengths = this.lengths(this.codes.set(own), literals + distances);
    this.packed.literals.set(lengths.subarray(0, literals)).join();
    this.packed.distances.set(lengths.subarray(literals));
    return this.packed;
  }

  private lengths(code: Code, count: number): Uint8Array {
    const lengths = new Uint8Array(count);
    for (let at = 0; at < count && !this.failed;) {
      const symbol = this.decode(code);
      if (symbol < 16) {
        lengths[at] = symbol;
        at += 1;
        continue;
      }
      const value = symbol === 16 ? (lengths[at - 1] ?? 0) : 0;
      const times = symbol === 16 ? 3 + this.take(2) : symbol === 17 ? 3 + this.take(3) : 11 + this.take(7);
      if (at + times > count || (symbol === 16 && at === 0)) this.failed = true;
      lengths.fill(value, at, at + times);
      at += times;
    }
    return lengths;
  }

  private decode(code: Code): number {
    const bits = bitsAt(this.view, this.bit);
    const entry = (code.quick[bits & ((1 << QUICK) - 1)] as number) || code.slow(bits);
    if (entry === 0) this.failed = true;
    this.bit += entry & ALL_BITS;
    return valueOf(entry);
  }

  /** False when it ends beyond what is there. */
  private passStored({ rest }: Stored): boolean {
    const count = Math.min(rest, this.filled - (this.bit >>> 3));
    this.bit += count * 8;
    this.at += count;
    if (count === rest) this.endBlock();
    else this.block = { rest: rest - count };
    return count === rest;
  }

  private endBlock(): void {
    this.block = null;
    if (this.last) this.end = this.here();
  }

  /** Where most of the time is spent: nothing is called for a common symbol, and nothing made. */
  private passSymbols({ literals, distances }: Packed, limit: number): void {
    const { view } = this;
    const [quick, far] = [literals.quick, distances.quick];
    const mask = (1 << QUICK) - 1;
    let { bit, at } = this;
    let kind: number = KIND.literal;
    while (bit < limit) {
      let bits = bitsAt(view, bit);
      let entry = (quick[bits & mask] as number) || literals.slow(bits);
      bit += entry & ALL_BITS;
      at += valueOf(entry);
      kind = entry === 0 ? KIND.bad : entry & KIND.mask;
      if (kind === KIND.literal) continue;
      if (kind !== KIND.length) break;
      const extra = extraOf(entry);
      at += (bits >>> ((entry & ALL_BITS) - extra)) & ((1 << extra) - 1);
      bits = bitsAt(view, bit);
      entry = (far[bits & mask] as number) || distances.slow(bits);
      bit += entry & ALL_BITS;
      kind = entry === 0 ? KIND.bad : entry & KIND.mask;
      if (kind === KIND.bad) break;
    }
    [this.bit, this.at] = [bit, at];
    if (kind === KIND.bad) this.failed = true;
    else if (kind === KIND.end) this.endBlock();
  }
}

/** At least 25 bits from this one on. */
const bitsAt = (bytes: DataView, bit: number): number => bytes.getInt32(bit >>> 3, true) >>> (bit & 7);
