/** A place between two blocks of a deflate stream. */
export interface BlockBoundary {
  /** Bits of the stream before it. */
  readonly bit: number;
  /** Bytes inflated before it. */
  readonly at: number;
  /** The byte of the stream that holds the bit; 0 after the last one. */
  readonly byte: number;
}

/** The block boundaries of a deflate stream. */
export interface DeflateBlocks {
  /** Some of the boundaries in ascending order, the beginning of the stream first. */
  readonly boundaries: readonly BlockBoundary[];
  /** Where the last block begins; its first bit marks it as the last. */
  readonly last: BlockBoundary;
  readonly end: BlockBoundary;
}

/** Boundaries closer than this, in inflated bytes, are not all kept: a stream may have very many blocks. */
const APART = 32 * 1024;
/** No code and no block header is longer than this, in bytes (RFC 1951, 3.2.7: 2,300 bits). */
const LONGEST = 512;
/** How many bytes of the stream are scanned together. */
const PIECE = 64 * 1024;

const TYPE = { stored: 0, fixed: 1, dynamic: 2 } as const;
const END_OF_BLOCK = 256;
/** RFC 1951, 3.2.5: lengths of codes 257 to 285, and how many bits follow each. */
const LENGTHS = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
  227, 258,
];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
/** The order in which a dynamic block lists the lengths of the code length codes (RFC 1951, 3.2.7). */
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Codes up to this many bits are looked up in one step. */
const QUICK = 11;
const LONGEST_CODE = 15;

/**
 * The meaning of a symbol as a number: the number of extra bits after its code, twice (bits 0 to 4, and 5 to 8); its
 * kind (bits 9 and 10); from bit 11 on the number of bytes that it inflates to, without the extra bits, or its value.
 * After the length of the code has been added, bits 0 to 4 are the number of bits in all.
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
class HuffmanCode {
  readonly quick = new Int32Array(1 << QUICK);
  private readonly counts = new Uint16Array(LONGEST_CODE + 1);
  private readonly symbols = new Uint16Array(320);
  private readonly offsets = new Uint16Array(LONGEST_CODE + 2);
  private readonly next = new Uint16Array(LONGEST_CODE + 2);

  constructor(private readonly meanings: Int32Array) {}

  /** Sets the code by the number of bits of each symbol. */
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

  /** Only for speed: joins a literal and the symbol after it in one entry, if both codes fit into the index. */
  join(): this {
    const { quick } = this;
    // Backwards: entries at lower indexes are still single symbols.
    for (let at = (1 << QUICK) - 1; at >= 0; at -= 1) {
      const first = quick[at] as number;
      if (first === 0 || (first & KIND.mask) !== KIND.literal) continue;
      const second = quick[at >>> (first & ALL_BITS)] as number;
      const length = (first & ALL_BITS) + (second & ALL_BITS) - extraOf(second);
      if (second !== 0 && length <= QUICK) quick[at] = first + second;
    }
    return this;
  }

  /** Looks up a code of any length, as `quick` does for short ones; 0 if there is none. */
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
  literals: new HuffmanCode(LITERALS)
    .set(
      Uint8Array.from({ length: 288 }, (_, symbol) =>
        symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8,
      ),
    )
    .join(),
  distances: new HuffmanCode(DISTANCES).set(new Uint8Array(30).fill(5)),
};

interface CompressedBlock {
  readonly literals: HuffmanCode;
  readonly distances: HuffmanCode;
}

interface StoredBlock {
  /** How many bytes follow. */
  readonly rest: number;
}

/** No compressor makes more than one block for this many bytes of the stream. */
const BYTES_A_BLOCK = 64;

/**
 * Only for speed, for `reuseDeflateBlocks`: follows a deflate stream (RFC 1951) as its bytes arrive to find its block
 * boundaries, while zlib inflates it on another thread. A stream that it cannot follow has none; that is not an error.
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
  private block: CompressedBlock | StoredBlock | null = null;
  private readonly codes = new HuffmanCode(CODE_LENGTHS);
  private readonly dynamicCodes = {
    literals: new HuffmanCode(LITERALS),
    distances: new HuffmanCode(DISTANCES),
  };
  private blocks = 0;
  private readonly boundaries: BlockBoundary[] = [];
  private last: BlockBoundary | null = null;
  private end: BlockBoundary | null = null;
  private failed = false;

  /** Scans the next bytes of the stream. */
  push(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.failed; at += PIECE)
      this.pushPiece(bytes.subarray(at, at + PIECE));
  }

  private pushPiece(bytes: Buffer): void {
    // Nothing may follow the end.
    if (this.end) this.failed = true;
    const read = this.bit >>> 3;
    this.work.copyWithin(0, read, this.filled);
    const rest = this.filled - read;
    bytes.copy(this.work, rest);
    this.filled = rest + bytes.length;
    this.base += read;
    this.bit &= 7;
    this.scan((this.filled - LONGEST) * 8);
  }

  /** The blocks, if the stream ended with the last byte that was pushed; otherwise null. */
  finish(): DeflateBlocks | null {
    this.work.fill(0, this.filled);
    this.scan(this.filled * 8);
    const { boundaries, last, end } = this;
    const length = this.base + this.filled;
    if (this.failed || !last || !end || Math.ceil(end.bit / 8) !== length) return null;
    return { boundaries, last, end };
  }

  /** Scans up to bit `limit` of `work`. */
  private scan(limit: number): void {
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

  private readBits(count: number): number {
    const bits = bitsAt(this.view, this.bit) & ((1 << count) - 1);
    this.bit += count;
    return bits;
  }

  private begin(): void {
    const here = this.here();
    this.blocks += 1;
    if (this.blocks > 64 + here.bit / 8 / BYTES_A_BLOCK) this.failed = true;
    if (here.at >= (this.boundaries.at(-1)?.at ?? -APART) + APART) this.boundaries.push(here);
    if (this.readBits(1) === 1) this.last = here;
    const type = this.readBits(2);
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
    // The stream may end here.
    if (rest === 0) this.endBlock();
  }

  /** RFC 1951, 3.2.7. */
  private dynamic(): CompressedBlock {
    const [literals, distances, codes] = [this.readBits(5) + 257, this.readBits(5) + 1, this.readBits(4) + 4];
    const own = new Uint8Array(19);
    for (const place of ORDER.slice(0, codes)) own[place] = this.readBits(3);
    const lengths = this.lengths(this.codes.set(own), literals + distances);
    this.dynamicCodes.literals.set(lengths.subarray(0, literals)).join();
    this.dynamicCodes.distances.set(lengths.subarray(literals));
    return this.dynamicCodes;
  }

  private lengths(code: HuffmanCode, count: number): Uint8Array {
    const lengths = new Uint8Array(count);
    for (let at = 0; at < count && !this.failed;) {
      const symbol = this.decode(code);
      if (symbol < 16) {
        lengths[at] = symbol;
        at += 1;
        continue;
      }
      const value = symbol === 16 ? (lengths[at - 1] ?? 0) : 0;
      const times =
        symbol === 16 ? 3 + this.readBits(2) : symbol === 17 ? 3 + this.readBits(3) : 11 + this.readBits(7);
      if (at + times > count || (symbol === 16 && at === 0)) this.failed = true;
      lengths.fill(value, at, at + times);
      at += times;
    }
    return lengths;
  }

  private decode(code: HuffmanCode): number {
    const bits = bitsAt(this.view, this.bit);
    const entry = (code.quick[bits & ((1 << QUICK) - 1)] as number) || code.slow(bits);
    if (entry === 0) this.failed = true;
    this.bit += entry & ALL_BITS;
    return valueOf(entry);
  }

  /** Returns false if the block continues in the next bytes. */
  private passStored({ rest }: StoredBlock): boolean {
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

  /** Most of the time is spent here: for common symbols it calls no function and creates no object. */
  private passSymbols({ literals, distances }: CompressedBlock, limit: number): void {
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
