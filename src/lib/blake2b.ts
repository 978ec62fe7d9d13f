/*
 * BLAKE2b with a chosen length (RFC 7693), without a key. OpenSSL has only the length 64, and a shorter digest is not the
 * beginning of a longer one. For small inputs: it is a hundred times slower than OpenSSL.
 */

const MASK = (1n << 64n) - 1n;
/** RFC 7693, 2.6. */
const IV: readonly bigint[] = [
  0x6a09e667f3bcc908n,
  0xbb67ae8584caa73bn,
  0x3c6ef372fe94f82bn,
  0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n,
  0x9b05688c2b3e6c1fn,
  0x1f83d9abfb41bd6bn,
  0x5be0cd19137e2179n,
];
/** RFC 7693, 2.7. */
const SIGMA: readonly (readonly number[])[] = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const ROUNDS = 12;
const BLOCK = 128;

/** The words that each call of the mixing function changes: columns, then diagonals (RFC 7693, 3.2). */
const MIXED: readonly (readonly [number, number, number, number])[] = [
  [0, 4, 8, 12],
  [1, 5, 9, 13],
  [2, 6, 10, 14],
  [3, 7, 11, 15],
  [0, 5, 10, 15],
  [1, 6, 11, 12],
  [2, 7, 8, 13],
  [3, 4, 9, 14],
];

const rotated = (word: bigint, bits: bigint): bigint => ((word >> bits) | (word << (64n - bits))) & MASK;

function mix(
  work: BigUint64Array,
  [a, b, c, d]: readonly [number, number, number, number],
  x: bigint,
  y: bigint,
): void {
  const at = (index: number): bigint => work[index] ?? 0n;
  work[a] = at(a) + at(b) + x;
  work[d] = rotated(at(d) ^ at(a), 32n);
  work[c] = at(c) + at(d);
  work[b] = rotated(at(b) ^ at(c), 24n);
  work[a] = at(a) + at(b) + y;
  work[d] = rotated(at(d) ^ at(a), 16n);
  work[c] = at(c) + at(d);
  work[b] = rotated(at(b) ^ at(c), 63n);
}

/** The function F. `counter` is the number of bytes hashed so far, this block included. */
function compress(state: BigUint64Array, block: Buffer, counter: number, isLast: boolean): void {
  const words = Array.from({ length: 16 }, (_, index) => block.readBigUInt64LE(index * 8));
  const work = BigUint64Array.from([...state, ...IV]);
  work[12] = (work[12] ?? 0n) ^ BigInt(counter);
  if (isLast) work[14] = (work[14] ?? 0n) ^ MASK;
  for (let round = 0; round < ROUNDS; round += 1) {
    const order = SIGMA[round % SIGMA.length] ?? [];
    for (const [call, mixed] of MIXED.entries())
      mix(work, mixed, words[order[2 * call] ?? 0] ?? 0n, words[order[2 * call + 1] ?? 0] ?? 0n);
  }
  for (let index = 0; index < 8; index += 1)
    state[index] = (state[index] ?? 0n) ^ (work[index] ?? 0n) ^ (work[index + 8] ?? 0n);
}

/** The BLAKE2b digest of `length` bytes, 1 to 64. */
export function blake2b(data: Buffer, length: number): Buffer {
  const state = BigUint64Array.from(IV);
  state[0] = (state[0] ?? 0n) ^ BigInt(0x01010000 ^ length);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK));
  for (let index = 0; index < blocks; index += 1) {
    const block = Buffer.alloc(BLOCK);
    data.copy(block, 0, index * BLOCK);
    compress(state, block, Math.min(data.length, (index + 1) * BLOCK), index === blocks - 1);
  }
  const digest = Buffer.alloc(64);
  for (const [index, word] of state.entries()) digest.writeBigUInt64LE(word, index * 8);
  return digest.subarray(0, length);
}
