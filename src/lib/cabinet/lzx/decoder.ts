import { BitReader, DamagedStream } from './bit-reader.ts';
import { CallTranslation } from './call-translation.ts';
import { buildTable, readSymbol, type HuffmanTable } from './huffman.ts';
import { SMALLEST_WINDOW, slotsOf } from './window.ts';

/*
 * Microsoft, "LZX Data Compression Format" of the Cabinet SDK, with [MS-PATCH] section 2, which describes the same method for
 * other files. Data blocks of a cabinet are frames of 32 KiB: a match never leaves its frame, and each begins with a new word.
 */

const LITERALS = 256;
/** Lengths of a match that stand in the main symbol itself: 2 to 8; with this value, another symbol follows. */
const MORE_LENGTH = 7;
const SHORTEST_MATCH = 2;
const LENGTH_SYMBOLS = 249;
const PRETREE_SYMBOLS = 20;
const ALIGNED_SYMBOLS = 8;
const BLOCK = { verbatim: 1, aligned: 2, uncompressed: 3 } as const;

/** Bits that follow a slot, and the first position of each. */
const EXTRA_BITS = Array.from({ length: 51 }, (_, slot) => Math.min(17, Math.max(0, (slot >> 1) - 1)));
const FIRST_POSITION = EXTRA_BITS.map((_, slot) =>
  EXTRA_BITS.slice(0, slot).reduce((sum, bits) => sum + (1 << bits), 0),
);

/** Decodes the data blocks of one folder, one after another. */
export class LzxDecoder {
  private readonly window: Buffer;
  private readonly mask: number;
  /** Bytes decoded so far. */
  private written = 0;
  private readonly mainLengths: Uint8Array;
  private readonly lengthLengths = new Uint8Array(LENGTH_SYMBOLS);
  private main: HuffmanTable | null = null;
  private length: HuffmanTable | null = null;
  private aligned: HuffmanTable | null = null;
  private blockType = 0;
  private blockLength = 0;
  private blockLeft = 0;
  /** The last three distances. */
  private recent: [number, number, number] = [1, 1, 1];
  private translation: CallTranslation | null = null;

  /** `windowBits` from 15 to 21; of a window, only as much is kept as `blockCount` blocks can fill. */
  constructor(windowBits: number, blockCount: number) {
    const needed = SMALLEST_WINDOW + Math.ceil(Math.log2(Math.max(1, blockCount)));
    this.window = Buffer.alloc(1 << Math.min(windowBits, needed));
    this.mask = this.window.length - 1;
    this.mainLengths = new Uint8Array(LITERALS + slotsOf(windowBits) * 8);
  }

  /** The `size` bytes of the next data block, at most 32 KiB. Throws `DamagedStream`. */
  decode(data: Buffer, size: number): Buffer {
    const reader = new BitReader(data);
    this.translation ??= new CallTranslation(reader.read(1) === 1 ? reader.read(32) : 0);
    // A frame lies in one piece in the window, whose size is a multiple of 32 KiB; a shorter one is the last.
    const start = this.written & this.mask;
    const end = this.written + size;
    if (start + size > this.window.length) throw new DamagedStream('a short block that is not the last');
    while (this.written < end) {
      if (this.blockLeft === 0) this.readBlockHeader(reader);
      const stop = this.written + Math.min(this.blockLeft, end - this.written);
      this.blockLeft -= stop - this.written;
      if (this.blockType === BLOCK.uncompressed) this.copyRaw(reader, stop - this.written);
      else this.decodeMatches(reader, stop);
    }
    return this.translation.translate(Buffer.from(this.window.subarray(start, start + size)));
  }

  private readBlockHeader(reader: BitReader): void {
    if (this.blockType === BLOCK.uncompressed && this.blockLength % 2 === 1) reader.take(1);
    this.blockType = reader.read(3);
    this.blockLength = reader.read(24);
    this.blockLeft = this.blockLength;
    if (this.blockLength === 0) throw new DamagedStream('an empty block');
    if (this.blockType === BLOCK.uncompressed) this.readUncompressedHeader(reader);
    else if (this.blockType === BLOCK.aligned || this.blockType === BLOCK.verbatim) this.readTables(reader);
    else throw new DamagedStream(`a block of the unknown type ${this.blockType}`);
  }

  private readUncompressedHeader(reader: BitReader): void {
    reader.alignToBytes();
    const distances = reader.take(12);
    this.recent = [distances.readUInt32LE(0), distances.readUInt32LE(4), distances.readUInt32LE(8)];
    this.translation?.begin();
  }

  private readTables(reader: BitReader): void {
    if (this.blockType === BLOCK.aligned)
      this.aligned = buildTable(Uint8Array.from({ length: ALIGNED_SYMBOLS }, () => reader.read(3)));
    readLengths(reader, this.mainLengths.subarray(0, LITERALS));
    readLengths(reader, this.mainLengths.subarray(LITERALS));
    this.main = buildTable(this.mainLengths);
    if (this.mainLengths[CallTranslation.CALL] !== 0) this.translation?.begin();
    readLengths(reader, this.lengthLengths);
    this.length = buildTable(this.lengthLengths);
  }

  private copyRaw(reader: BitReader, length: number): void {
    reader.take(length).copy(this.window, this.written & this.mask);
    this.written += length;
  }

  private decodeMatches(reader: BitReader, stop: number): void {
    const { window, mask } = this;
    while (this.written < stop) {
      const symbol = readSymbol(reader, this.main);
      if (symbol < LITERALS) {
        window[this.written & mask] = symbol;
        this.written += 1;
        continue;
      }
      const length = this.readLength(reader, (symbol - LITERALS) & 7);
      const distance = this.readDistance(reader, (symbol - LITERALS) >> 3);
      if (distance > this.written || distance > window.length || this.written + length > stop)
        throw new DamagedStream('a match that leaves the data');
      for (let left = length; left > 0; left -= 1) {
        window[this.written & mask] = window[(this.written - distance) & mask] ?? 0;
        this.written += 1;
      }
    }
  }

  private readLength(reader: BitReader, header: number): number {
    const more = header === MORE_LENGTH ? readSymbol(reader, this.length) : 0;
    return header + more + SHORTEST_MATCH;
  }

  /** A distance, which becomes the most recent one. */
  private readDistance(reader: BitReader, slot: number): number {
    const [first, second, third] = this.recent;
    switch (slot) {
      case 0:
        return first;
      case 1:
        this.recent = [second, first, third];
        return second;
      case 2:
        this.recent = [third, second, first];
        return third;
      default: {
        const distance = (FIRST_POSITION[slot] ?? 0) - 2 + this.readPosition(reader, EXTRA_BITS[slot] ?? 0);
        this.recent = [distance, first, second];
        return distance;
      }
    }
  }

  /** The bits behind a slot; in an aligned block the lowest three of them have a code of their own. */
  private readPosition(reader: BitReader, bits: number): number {
    if (this.blockType !== BLOCK.aligned || bits < 3) return reader.read(bits);
    return reader.read(bits - 3) * 8 + readSymbol(reader, this.aligned);
  }
}

/** Reads lengths of codes, each as its difference to the one of the block before (modulo 17), or as a run. */
function readLengths(reader: BitReader, lengths: Uint8Array): void {
  const pretree = buildTable(Uint8Array.from({ length: PRETREE_SYMBOLS }, () => reader.read(4)));
  const changed = (at: number, symbol: number): number => ((lengths[at] ?? 0) - symbol + 17) % 17;
  for (let at = 0; at < lengths.length;) {
    const symbol = readSymbol(reader, pretree);
    let [count, value] = [1, 0];
    if (symbol === 17) count = reader.read(4) + 4;
    else if (symbol === 18) count = reader.read(5) + 20;
    else if (symbol === 19) {
      count = reader.read(1) + 4;
      const difference = readSymbol(reader, pretree);
      if (difference > 16) throw new DamagedStream('a run of runs');
      value = changed(at, difference);
    } else value = changed(at, symbol);
    if (at + count > lengths.length) throw new DamagedStream('more lengths than symbols');
    lengths.fill(value, at, at + count);
    at += count;
  }
}
