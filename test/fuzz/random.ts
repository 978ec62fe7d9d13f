import { createHash } from 'node:crypto';

/** Random numbers that a text determines: xoshiro128** (Blackman and Vigna), seeded with its SHA-256. */
export class Random {
  private readonly state: Uint32Array;

  constructor(seed: string) {
    const digest = createHash('sha256').update(seed).digest();
    this.state = Uint32Array.from([0, 4, 8, 12], (at) => digest.readUInt32LE(at));
  }

  /** 32 bits, unsigned. */
  next(): number {
    const { state } = this;
    const [a = 0, b = 0, c = 0, d = 0] = state;
    const product = Math.imul(b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const second = c ^ a;
    const third = d ^ b;
    state[1] = b ^ second;
    state[0] = a ^ third;
    state[2] = second ^ (b << 9);
    state[3] = (third << 11) | (third >>> 21);
    return result;
  }

  /** A whole number from 0 to `limit` - 1; 0 if `limit` is 0. */
  below(limit: number): number {
    return limit <= 1 ? 0 : Math.floor((this.next() / 2 ** 32) * limit);
  }

  chance(probability: number): boolean {
    return this.next() < probability * 2 ** 32;
  }

  pick<T>(values: readonly T[]): T {
    const value = values[this.below(values.length)];
    if (value === undefined) throw new RangeError('nothing to pick from');
    return value;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.next() & 0xff));
  }
}
