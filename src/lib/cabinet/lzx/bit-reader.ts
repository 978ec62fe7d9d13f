/** Thrown inside of the decoder; the caller says where. */
export class DamagedStream extends Error {}

/**
 * The bits of one data block: little-endian words of 16 bits, of each the highest bit first. Behind the end up to 16 zero bits
 * may be looked at, and none be used.
 */
export class BitReader {
  private buffer = 0;
  private count = 0;
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  /** The next bits without using them; up to 16. */
  peek(bits: number): number {
    if (this.count < bits) this.fill();
    return (this.buffer >>> (this.count - bits)) & ((1 << bits) - 1);
  }

  skip(bits: number): void {
    this.count -= bits;
    // Bits that were added behind the end count as unused.
    if (this.at - (this.count >> 3) > this.bytes.length + 1) throw new DamagedStream('it ends too early');
  }

  read(bits: number): number {
    if (bits > 16) return this.read(bits - 16) * 0x10000 + this.read(16);
    if (bits === 0) return 0;
    const value = this.peek(bits);
    this.skip(bits);
    return value;
  }

  /** Leaves the bits up to the next word, at least one: a whole word if no bit of one is left. */
  alignToBytes(): void {
    if (this.count === 0) this.fill();
    // Whole words that were read ahead are given back.
    this.at -= (this.count >> 4) * 2;
    if (this.count % 16 === 0) this.at += 2;
    this.count = 0;
    this.buffer = 0;
  }

  /** The next bytes, after `alignToBytes`. */
  take(length: number): Buffer {
    if (this.at + length > this.bytes.length) throw new DamagedStream('it ends too early');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  private fill(): void {
    const word = (this.bytes[this.at] ?? 0) | ((this.bytes[this.at + 1] ?? 0) << 8);
    this.at += 2;
    if (this.at > this.bytes.length + 4) throw new DamagedStream('it ends too early');
    // At most 15 bits are left, so 31 are enough.
    this.buffer = ((this.buffer & ((1 << this.count) - 1)) << 16) | word;
    this.count += 16;
  }
}
