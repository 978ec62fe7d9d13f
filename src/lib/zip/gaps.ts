/**
 * Bytes of a zip that belong to no entry. A reader that uses the directory never sees them, but one that streams does;
 * so only bytes that every reader ignores are allowed.
 */
import { invalid } from '../errors.ts';
import type { ByteRange } from '../bytes/byte-range.ts';
import type { ByteSource } from '../bytes/byte-source.ts';
import { LOCAL, LOCAL_SIGNATURE, MAX16, SPLIT_SIGNATURES } from './header-fields.ts';

/** Read at a time, in bytes: more than the longest virtual entry. */
const STEP = 256 * 1024;
const LONGEST_VIRTUAL = LOCAL.size + MAX16;
const ZEROS = Buffer.alloc(STEP);

/**
 * Refuses bytes other than zeros and virtual entries: local headers with no name and no data, all zeros except the
 * signature and the length of their extra part, which Android's build tools put in place of a deleted entry. `where`
 * names, in messages, what the bytes follow.
 */
export async function requireGap(source: ByteSource, range: ByteRange, where: () => string): Promise<void> {
  const at = await findStray(source, range);
  if (at === null) return;
  const { start, end } = range;
  const bytes = await source.read(at, Math.min(STEP, end - at));
  if (bytes.includes('PK\x03\x04', 0, 'latin1'))
    throw invalid('zip-entry-unlisted', `${where()}: an entry follows that the directory lacks`, {
      hint: 'pack the files again instead of changing the zip in place',
    });
  throw invalid('zip-gap', `${where()}: ${end - start} bytes follow that belong to no entry`, {
    hint: 'pack the files again; only zeros are allowed between entries',
  });
}

/**
 * Refuses bytes before the first entry, except those of a gap, a script (which begins with `#!`) that contains no record
 * of a zip, and the four bytes that mark a split zip of one part.
 */
export async function requirePrefix(source: ByteSource, end: number): Promise<void> {
  if (end === 0) return;
  const head = await source.read(0, Math.min(4, end));
  if (end === 4 && SPLIT_SIGNATURES.has(head.readUInt32LE(0))) return;
  if (head.toString('latin1', 0, 2) === '#!') return requireNoRecord(source, end);
  if ((await findStray(source, { start: 0, end })) === null) return;
  throw invalid('zip-prefix', `${source.name}: has ${end} bytes before its first entry`, {
    hint: 'a self-extracting archive is a program: have it signed as one, or send the zip itself',
  });
}

/** The offset of the first byte that belongs to nothing; null if there is none. */
async function findStray(source: ByteSource, { start, end }: ByteRange): Promise<number | null> {
  for (let at = start; at < end;) {
    const bytes = await source.read(at, Math.min(STEP, end - at));
    const { done, stray } = scanGap(bytes, at + bytes.length === end);
    at += done;
    if (stray) return at;
  }
  return null;
}

/** How many bytes are accounted for, and whether a stray byte follows. Unless `last`, a virtual entry may be cut off. */
function scanGap(bytes: Buffer, last: boolean): { done: number; stray: boolean } {
  let at = 0;
  while (at < bytes.length) {
    at = skipZeros(bytes, at);
    if (at === bytes.length) break;
    if (!last && bytes.length - at < LONGEST_VIRTUAL) return { done: at, stray: false };
    const length = virtualLength(bytes.subarray(at));
    if (length === 0) return { done: at, stray: true };
    at += length;
  }
  return { done: at, stray: false };
}

function skipZeros(bytes: Buffer, from: number): number {
  if (bytes.subarray(from).equals(ZEROS.subarray(0, bytes.length - from))) return bytes.length;
  let at = from;
  while (bytes[at] === 0) at++;
  return at;
}

/** The length of the virtual entry at the beginning of the bytes; 0 if there is none. */
function virtualLength(bytes: Buffer): number {
  if (bytes.length < LOCAL.size || bytes.readUInt32LE(0) !== LOCAL_SIGNATURE) return 0;
  const length = LOCAL.size + bytes.readUInt16LE(LOCAL.extraLength);
  const isVirtual =
    length <= bytes.length &&
    bytes.subarray(4, LOCAL.extraLength).equals(ZEROS.subarray(4, LOCAL.extraLength)) &&
    bytes.subarray(LOCAL.size, length).equals(ZEROS.subarray(LOCAL.size, length));
  return isVirtual ? length : 0;
}

/** How the signatures of all records begin (APPNOTE 4.3), and the marker of a zip that was to be split. */
const RECORD = /PK(?:[^ -\xff]{2}|00)/;

async function requireNoRecord(source: ByteSource, end: number): Promise<void> {
  for (let at = 0; at < end; at += STEP) {
    const bytes = await source.read(at, Math.min(STEP + 3, end - at));
    if (!RECORD.test(bytes.toString('latin1'))) continue;
    throw invalid('zip-prefix', `${source.name}: the script before its first entry holds a record of a zip`, {
      hint: 'put another script before the zip, or send the zip itself',
    });
  }
}
