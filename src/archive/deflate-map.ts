/** A place between two blocks of a deflate stream. */
export interface Boundary {
  /** Bits of the stream before it. */
  readonly bit: number;
  /** Bytes inflated before it. */
  readonly at: number;
  /** The byte of the stream in which the bit lies; 0 behind the last one. */
  readonly byte: number;
}

/** Where the blocks of a deflate stream lie. */
export interface DeflateMap {
  /** Some of the places between blocks, in order, the stream's beginning first. */
  readonly boundaries: readonly Boundary[];
  /** Where the last block begins: its first bit tells that it is the last. */
  readonly last: Boundary;
  readonly end: Boundary;
}

/** Boundaries closer than this are not all told, in inflated bytes: a stream may have a block for every bit. */
const APART = 32 * 1024;
/** No code, and no block's header, is longer than this, in bytes (RFC 1951, 3.2.7: 2,300 bits). */
const LONGEST = 512;

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
const QUICK = 10;
const LONGEST_CODE = 15;

/**
 * A Huffman code (RFC 1951, 3.2.2). `quick` has, by the next 10 bits, symbol << 4 | length, or 0 for a longer
 * code, which is then found by counting, length by length.
 */
class Code {
  readonly quick = new Uint16Array(1 << QUICK);
  private readonly counts = new Uint16Array(LONGEST_CODE + 1);
  private readonly symbols: Uint16Array;

  constructor(lengths: Uint8Array) {
    this.symbols = new Uint16Array(lengths.length);
    for (const length of lengths) this.counts[length] = (this.counts[length] ?? 0) + 1;
    this.counts[0] = 0;
    const offsets = new Uint16Array(LONGEST_CODE + 2);
    const next = new Uint16Array(LONGEST_CODE + 2);
    for (let length = 1; length <= LONGEST_CODE; length += 1) {
      const count = this.counts[length] ?? 0;
      offsets[length + 1] = (offsets[length] ?? 0) + count;
      next[length + 1] = ((next[length] ?? 0) + count) << 1;
    }
    for (const [symbol, length] of lengths.entries()) {
      if (length === 0) continue;
      this.symbols[offsets[length] ?? 0] = symbol;
      offsets[length] = (offsets[length] ?? 0) + 1;
      this.enter(symbol, length, next[length] ?? 0);
      next[length] = (next[length] ?? 0) + 1;
    }
  }

  private enter(symbol: number, length: number, code: number): void {
    if (length > QUICK) return;
    let reversed = 0;
    for (let bit = 0; bit < length; bit += 1) reversed |= ((code >>> bit) & 1) << (length - 1 - bit);
    for (let at = reversed; at < 1 << QUICK; at += 1 << length) this.quick[at] = (symbol << 4) | length;
  }

  /** The same for a code of any length; 0 where there is none. */
  slow(bits: number): number {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length <= LONGEST_CODE; length += 1) {
      code |= (bits >>> (length - 1)) & 1;
      const count = this.counts[length] ?? 0;
      if (code - count < first) return ((this.symbols[index + code - first] ?? 0) << 4) | length;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return 0;
  }
}

const FIXED = {
  literals: new Code(
    Uint8Array.from({ length: 288 }, (_, symbol) =>
      symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8,
    ),
  ),
  distances: new Code(new Uint8Array(30).fill(5)),
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
const BYTES_A_BLOCK = 512;

/**
 * Follows a deflate stream (RFC 1951), as its bytes come, to see where its blocks lie; what it inflates to is
 * somebody else's to find out. It judges nothing: a stream that it cannot follow has no map.
 */
export class DeflateScanner {
  private work = Buffer.alloc(LONGEST);
  /** Bytes in `work`; those before were read. */
  private filled = 0;
  /** Bytes of the stream before `work`. */
  private base = 0;
  /** Bits of `work` that were read. */
  private bit = 0;
  private at = 0;
  private block: Packed | Stored | null = null;
  private blocks = 0;
  private readonly boundaries: Boundary[] = [];
  private last: Boundary | null = null;
  private end: Boundary | null = null;
  private failed = false;

  /** Takes the next bytes of the stream. */
  push(bytes: Buffer): void {
    if (this.failed) return;
    const read = this.bit >>> 3;
    const rest = this.work.subarray(read, this.filled);
    const needed = rest.length + bytes.length + LONGEST;
    const target = this.work.length < needed ? Buffer.alloc(needed) : this.work;
    rest.copy(target);
    bytes.copy(target, rest.length);
    this.work = target;
    this.filled = rest.length + bytes.length;
    this.base += read;
    this.bit &= 7;
    this.run((this.filled - LONGEST) * 8);
  }

  /** The map, when the stream ended with the last byte that was pushed; else null. */
  finish(): DeflateMap | null {
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

  private here(): Boundary {
    const behind = this.bit >>> 3 >= this.filled;
    return {
      bit: this.base * 8 + this.bit,
      at: this.at,
      byte: behind ? 0 : (this.work[this.bit >>> 3] ?? 0),
    };
  }

  private take(count: number): number {
    const byte = this.bit >>> 3;
    const bits = (this.work.readUInt32LE(byte) >>> (this.bit & 7)) & ((1 << count) - 1);
    this.bit += count;
    return bits;
  }

  private begin(): void {
    const here = this.here();
    this.blocks += 1;
    if (this.blocks > 64 + this.base / BYTES_A_BLOCK + this.filled / BYTES_A_BLOCK) this.failed = true;
    if (here.at >= (this.boundaries.at(-1)?.at ?? -APART) + APART) this.boundaries.push(here);
    if (this.take(1) === 1) this.last = here;
    const type = this.take(2);
    if (type === TYPE.stored) this.block = this.stored();
    else if (type === TYPE.fixed) this.block = FIXED;
    else if (type === TYPE.dynamic) this.block = this.dynamic();
    else this.failed = true;
  }

  private stored(): Stored {
    this.bit = (this.bit + 7) & ~7;
    const byte = this.bit >>> 3;
    const rest = this.work.readUInt16LE(byte);
    if ((rest ^ this.work.readUInt16LE(byte + 2)) !== 0xffff) this.failed = true;
    this.bit += 32;
    return { rest };
  }

  /** RFC 1951, 3.2.7. */
  private dynamic(): Packed {
    const [literals, distances, codes] = [this.take(5) + 257, this.take(5) + 1, this.take(4) + 4];
    const own = new Uint8Array(19);
    for (const place of ORDER.slice(0, codes)) own[place] = this.take(3);
    const lengths = this.lengths(new Code(own), literals + distances);
    return {
      literals: new Code(lengths.subarray(0, literals)),
      distances: new Code(lengths.subarray(literals)),
    };
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
    const bits = this.work.readUInt32LE(this.bit >>> 3) >>> (this.bit & 7);
    const entry = code.quick[bits & ((1 << QUICK) - 1)] || code.slow(bits);
    if (entry === 0) this.failed = true;
    this.bit += entry & 15;
    return entry >>> 4;
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
    const { work } = this;
    const [quick, far] = [literals.quick, distances.quick];
    const mask = (1 << QUICK) - 1;
    let { bit, at } = this;
    while (bit < limit) {
      let bits = bitsAt(work, bit);
      let entry = (quick[bits & mask] as number) || literals.slow(bits);
      bit += entry & 15;
      const symbol = entry >>> 4;
      if (symbol < END_OF_BLOCK && entry !== 0) {
        at += 1;
        continue;
      }
      [this.bit, this.at] = [bit, at];
      if (symbol === END_OF_BLOCK) return this.endBlock();
      const extra = LENGTH_BITS[symbol - 257];
      if (entry === 0 || extra === undefined) break;
      at += (LENGTHS[symbol - 257] as number) + ((bits >>> (entry & 15)) & ((1 << extra) - 1));
      bit += extra;
      bits = bitsAt(work, bit);
      entry = (far[bits & mask] as number) || distances.slow(bits);
      const distance = entry >>> 4;
      if (entry === 0 || distance > 29) break;
      bit += (entry & 15) + (distance < 4 ? 0 : (distance >>> 1) - 1);
    }
    this.failed = bit < limit;
    [this.bit, this.at] = [bit, at];
  }
}

/** At least 25 bits from this one on; what is behind the last byte counts as 0. */
function bitsAt(bytes: Uint8Array, bit: number): number {
  const at = bit >>> 3;
  const low = (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
  const high = (bytes[at + 2] as number) | ((bytes[at + 3] as number) << 8);
  return (low | (high << 16)) >>> (bit & 7);
}
