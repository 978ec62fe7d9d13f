/** Changes of bytes that know no format, but look for what most formats have: sizes, offsets, counts, repeated records. */
import type { Random } from './random.ts';

/** Inputs grow no larger than this, in bytes. */
export const LARGEST = 256 * 1024;

const INTERESTING = [
  0, 1, 2, 3, 4, 7, 8, 0x0f, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff, 0x100, 0x1ff, 0x200,
];
const LIMITS = [
  0xfff, 0x1000, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffa, 0xfffffffd,
];
const LAST = [0xfffffffe, 0xffffffff];

/** A number that is likely to matter in a file of this size. */
function interesting(random: Random, size: number): number {
  const near = size + random.below(9) - 4;
  return random.pick([...INTERESTING, ...LIMITS, ...LAST, near, random.below(size + 1), random.next()]);
}

/** Positions of the numbers in a file that may be sizes or offsets within it: most others are content. */
const suspects = new WeakMap<Buffer, readonly number[]>();

function suspectsIn(bytes: Buffer): readonly number[] {
  const known = suspects.get(bytes);
  if (known) return known;
  const found: number[] = [];
  for (let at = 0; at + 4 <= bytes.length; at += 2) {
    const value = bytes.readUInt32LE(at);
    if ((value > 0 && value <= bytes.length) || value >= 0xfffffff0) found.push(at);
  }
  suspects.set(bytes, found);
  return found;
}

/** A position: often near either end, or of a number that may be a size. */
function position(bytes: Buffer, origin: Buffer, random: Random): number {
  const last = Math.max(bytes.length - 1, 0);
  const choice = random.below(8);
  if (choice < 2) return Math.min(random.below(512), last);
  if (choice === 2) return Math.max(last - random.below(512), 0);
  const found = suspectsIn(origin);
  if (choice < 6 && found.length > 0) return Math.min(random.pick(found), last);
  return random.below(bytes.length);
}

function writeNumber(bytes: Buffer, at: number, value: number, random: Random): void {
  const width = Math.min(random.pick([1, 2, 2, 4, 4, 4, 8]), bytes.length - at);
  if (width <= 0) return;
  const little = random.chance(0.8);
  const low = Math.min(width, 6);
  const cut = ((value % 2 ** (8 * low)) + 2 ** (8 * low)) % 2 ** (8 * low);
  if (width === 8) bytes.fill(random.chance(0.2) ? 0xff : 0, at, at + 8);
  if (little) bytes.writeUIntLE(cut, at, low);
  else bytes.writeUIntBE(cut, at + width - low, low);
}

const join = (...parts: readonly Buffer[]): Buffer => Buffer.concat(parts).subarray(0, LARGEST);

type Change = (bytes: Buffer, at: number, random: Random, other: Buffer) => Buffer;

const inPlace =
  (change: (bytes: Buffer, at: number, random: Random, other: Buffer) => void): Change =>
  (bytes, at, random, other) => {
    change(bytes, at, random, other);
    return bytes;
  };

/** Where a range that begins at `at` ends: usually soon. */
const endAfter = (bytes: Buffer, at: number, random: Random): number =>
  Math.min(bytes.length, at + 1 + random.below(random.pick([4, 16, 64, 512, 4096])));

const CHANGES: readonly Change[] = [
  inPlace((bytes, at, random) => {
    bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
  }),
  inPlace((bytes, at, random) => {
    bytes[at] = random.next() & 0xff;
  }),
  inPlace((bytes, at, random) => writeNumber(bytes, at, interesting(random, bytes.length), random)),
  inPlace((bytes, at, random) => writeNumber(bytes, at, interesting(random, bytes.length), random)),
  inPlace((bytes, at, random) => {
    const value = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : 0;
    writeNumber(bytes, at, value + random.below(35) - 17, random);
  }),
  inPlace((bytes, at, random) => {
    bytes.fill(random.pick([0, 0xff, 0x20, 0x41]), at, endAfter(bytes, at, random));
  }),
  // Copies a record over another one: repeated names, loops of links.
  inPlace((bytes, at, random) => {
    bytes.copy(bytes, random.below(bytes.length), at, endAfter(bytes, at, random));
  }),
  inPlace((bytes, at, random, other) => {
    const from = random.below(other.length);
    other.copy(bytes, at, from, endAfter(other, from, random));
  }),
  (bytes, at, random) => join(bytes.subarray(0, at), bytes.subarray(endAfter(bytes, at, random))),
  (bytes, at, random) =>
    join(bytes.subarray(0, at), bytes.subarray(at, endAfter(bytes, at, random)), bytes.subarray(at)),
  (bytes, at, random) => join(bytes.subarray(0, at), random.bytes(1 + random.below(16)), bytes.subarray(at)),
  (bytes, at) => Buffer.from(bytes.subarray(0, at)),
  (bytes, at, random, other) => join(bytes.subarray(0, at), other.subarray(random.below(other.length))),
  (bytes, _at, random) => join(bytes, random.chance(0.5) ? Buffer.alloc(random.below(64)) : bytes),
];

/** Changes a copy of `origin` in one to eight places; `other` gives parts to insert. */
export function mutateBytes(origin: Buffer, other: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(origin);
  const rounds = random.pick([1, 1, 1, 2, 2, 3, 4, 8]);
  for (let round = 0; round < rounds && bytes.length > 0; round += 1)
    bytes = Buffer.from(random.pick(CHANGES)(bytes, position(bytes, origin, random), random, other));
  return bytes;
}
