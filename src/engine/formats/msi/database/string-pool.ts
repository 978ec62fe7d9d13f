import type { ByteSource } from '../../../../lib/bytes/byte-source.ts';
import { codePageDecoder } from '../../../../lib/bytes/code-page.ts';
import { invalid, type SignpipeError } from '../../../../lib/errors.ts';

/*
 * The strings of an MSI database, in two streams; not documented by Microsoft, msitools and Wine agree:
 *
 *   _StringPool   u16 code page, u16 its high bits and 0x8000 if references have three bytes;
 *                 then for each string u16 length, u16 count of references; a string of 64 KiB or more has the length 0 and a
 *                 second entry with the low and the high half of its length; an unused number has two zeros
 *   _StringData   the strings one after another
 *
 * Strings are numbered from 1; 0 is the empty string.
 */

/** The most bytes that each of the two streams may have. */
const LARGEST = 64 * 1024 * 1024;

const LONG_REFERENCES = 0x8000;

/** The error for a database that contradicts itself. */
export const corruptDatabase = (name: string, why: string): SignpipeError =>
  invalid('msi-database-corrupt', `${name}: its database is broken: ${why}`, {
    hint: 'build the package again',
  });

export class StringPool {
  private constructor(
    private readonly data: Buffer,
    /** By number, where each string ends; it begins where the one before ends. */
    private readonly ends: readonly number[],
    private readonly decode: (bytes: Buffer) => string,
    /** Bytes of a reference to a string. */
    readonly referenceSize: 2 | 3,
  ) {}

  /** Reads both streams; throws `msi-database-corrupt`. */
  static async read(pool: ByteSource, data: ByteSource): Promise<StringPool> {
    for (const { name, size } of [pool, data])
      if (size > LARGEST) throw corruptDatabase(name, `${size} bytes of strings`);
    const entries = await pool.read(0, pool.size);
    if (entries.length < 4 || entries.length % 4 !== 0)
      throw corruptDatabase(pool.name, `a pool of strings of ${entries.length} bytes`);
    const high = entries.readUInt16LE(2);
    const codePage = entries.readUInt16LE(0) | ((high & ~LONG_REFERENCES) << 16);
    const ends = readEnds(entries, pool.name);
    if (ends.at(-1) !== data.size)
      throw corruptDatabase(
        pool.name,
        `its strings have ${data.size} bytes, their lengths make ${ends.at(-1)}`,
      );
    return new StringPool(
      await data.read(0, data.size),
      ends,
      codePageDecoder(codePage),
      (high & LONG_REFERENCES) === 0 ? 2 : 3,
    );
  }

  /** A string by its number; undefined if there is none. */
  get(number: number): string | undefined {
    const end = this.ends[number];
    return end === undefined ? undefined : this.decode(this.data.subarray(this.ends[number - 1] ?? 0, end));
  }
}

function readEnds(entries: Buffer, name: string): number[] {
  const ends = [0];
  let end = 0;
  for (let at = 4; at < entries.length; at += 4) {
    let length = entries.readUInt16LE(at);
    if (length === 0 && entries.readUInt16LE(at + 2) !== 0) {
      at += 4;
      if (at >= entries.length) throw corruptDatabase(name, 'it ends inside the length of a string');
      length = entries.readUInt32LE(at);
    }
    end += length;
    ends.push(end);
  }
  return ends;
}
