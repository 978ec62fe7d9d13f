import { DamagedStream, type BitReader } from './bit-reader.ts';

/** The longest code, in bits. */
const LONGEST = 16;

/** A table for a canonical Huffman code: by the next `bits` bits, the symbol that they begin with. */
export interface HuffmanTable {
  readonly bits: number;
  readonly symbols: Uint16Array;
  readonly lengths: Uint8Array;
}

/** Makes the table from the length of each symbol's code; null if no symbol has one. The code has to be complete. */
export function buildTable(lengths: Uint8Array): HuffmanTable | null {
  let bits = 0;
  for (const length of lengths) bits = Math.max(bits, length);
  if (bits === 0) return null;
  if (bits > LONGEST) throw new DamagedStream(`a code of ${bits} bits`);
  const size = 1 << bits;
  const symbols = new Uint16Array(size);
  let at = 0;
  for (let length = 1; length <= bits; length += 1)
    for (let symbol = 0; symbol < lengths.length; symbol += 1) {
      if (lengths[symbol] !== length) continue;
      const end = at + (1 << (bits - length));
      if (end > size) throw new DamagedStream('more codes than there are');
      symbols.fill(symbol, at, end);
      at = end;
    }
  if (at !== size) throw new DamagedStream('codes that mean nothing');
  return { bits, symbols, lengths: Uint8Array.from(lengths) };
}

/** Reads a symbol. */
export function readSymbol(reader: BitReader, table: HuffmanTable | null): number {
  if (!table) throw new DamagedStream('a symbol of a code without symbols');
  const symbol = table.symbols[reader.peek(table.bits)] ?? 0;
  reader.skip(table.lengths[symbol] ?? 0);
  return symbol;
}
