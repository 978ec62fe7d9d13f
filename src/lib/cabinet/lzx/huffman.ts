import { DamagedStream, type BitReader } from './bit-reader.ts';

/** The longest code, in bits. */
const LONGEST = 16;

/** Codes up to this many bits are found by one look into a table; building a larger one for each block would take too long. */
const FAST = 9;

/** A canonical Huffman code. */
export interface HuffmanTable {
  /** Bits of the longest code. */
  readonly bits: number;
  readonly lengths: Uint8Array;
  /** Symbols in the order of their codes. */
  readonly symbols: Uint16Array;
  /** By length: the first code of this length, the number of codes, and where their symbols begin. */
  readonly first: readonly number[];
  readonly counts: readonly number[];
  readonly starts: readonly number[];
  /** By the next `FAST` bits: one more than the symbol that they begin with; 0 for the beginning of a longer code. */
  readonly fast: Uint16Array;
}

/** Makes the table from the length of each symbol's code; null if no symbol has one. The code has to be complete. */
export function buildTable(lengths: Uint8Array): HuffmanTable | null {
  const counts = Array.from({ length: LONGEST + 1 }, () => 0);
  for (const length of lengths) counts[length] = (counts[length] ?? 0) + 1;
  counts[0] = 0;
  const bits = counts.findLastIndex((count) => count > 0);
  if (bits < 0) return null;
  const { first, starts } = canonical(counts, bits);
  const next = [...starts];
  const symbols = new Uint16Array(lengths.length);
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue;
    const at = next[length] ?? 0;
    symbols[at] = symbol;
    next[length] = at + 1;
  }
  const table = { bits, lengths: Uint8Array.from(lengths), symbols, first, counts, starts };
  return { ...table, fast: fastTable(table) };
}

/** Codes and places of symbols by length; every sequence of bits has to be one code and no more. */
function canonical(counts: readonly number[], bits: number): { first: number[]; starts: number[] } {
  const [first, starts] = [[0], [0]];
  let [code, start] = [0, 0];
  for (let length = 1; length <= bits; length += 1) {
    code = (code + (counts[length - 1] ?? 0)) * 2;
    start += counts[length - 1] ?? 0;
    first.push(code);
    starts.push(start);
  }
  if (code + (counts[bits] ?? 0) !== 1 << bits) throw new DamagedStream('a code that is not complete');
  return { first, starts };
}

function fastTable({ lengths, symbols, bits, starts, counts }: Omit<HuffmanTable, 'fast'>): Uint16Array {
  const fast = new Uint16Array(1 << FAST);
  let at = 0;
  const end = (starts[Math.min(bits, FAST)] ?? 0) + (counts[Math.min(bits, FAST)] ?? 0);
  for (const symbol of symbols.subarray(0, end)) {
    const width = 1 << (FAST - (lengths[symbol] ?? 0));
    fast.fill(symbol + 1, at, at + width);
    at += width;
  }
  return fast;
}

/** Reads a symbol. */
export function readSymbol(reader: BitReader, table: HuffmanTable | null): number {
  if (!table) throw new DamagedStream('a symbol of a code without symbols');
  const known = table.fast[reader.peek(FAST)] ?? 0;
  const symbol = known > 0 ? known - 1 : longSymbol(reader, table);
  reader.skip(table.lengths[symbol] ?? 0);
  return symbol;
}

function longSymbol(reader: BitReader, { bits, first, counts, starts, symbols }: HuffmanTable): number {
  const next = reader.peek(LONGEST);
  for (let length = FAST + 1; length <= bits; length += 1) {
    const index = (next >>> (LONGEST - length)) - (first[length] ?? 0);
    if (index < (counts[length] ?? 0)) return symbols[(starts[length] ?? 0) + index] ?? 0;
  }
  throw new DamagedStream('a code that means nothing');
}
