/** Changes of zips that keep their CRCs, sizes and offsets right, so that what reads their entries is reached. */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { forge, type Forged } from '../lib/zip/zips.ts';
import { LARGEST, mutateBytes } from './mutate-bytes.ts';
import type { Random } from './random.ts';

interface Entry {
  readonly name: Buffer;
  readonly content: Buffer;
  readonly method: number;
  readonly flags: number;
}

function inflated(data: Buffer): Buffer {
  try {
    return inflateRawSync(data, { maxOutputLength: LARGEST });
  } catch {
    return data;
  }
}

/** The entries of a sound zip; null for anything else. Sizes of zip64 are not read. */
function entriesOf(bytes: Buffer): Entry[] | null {
  const end = bytes.lastIndexOf('PK\x05\x06', undefined, 'latin1');
  const first = bytes.indexOf('PK\x01\x02', 0, 'latin1');
  if (end < 0 || first < 0) return null;
  const entries: Entry[] = [];
  for (let at = first; at + 46 <= bytes.length && bytes.readUInt32LE(at) === 0x02014b50;) {
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((field) =>
      bytes.readUInt16LE(at + field),
    );
    const name = bytes.subarray(at + 46, at + 46 + (nameLength ?? 0));
    const local = bytes.readUInt32LE(at + 42);
    const size = bytes.readUInt32LE(at + 20);
    if (local + 30 > bytes.length) return null;
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    if (start + size > bytes.length) return null;
    const method = bytes.readUInt16LE(at + 10);
    const data = bytes.subarray(start, start + size);
    const content = method === 8 ? inflated(data) : data;
    entries.push({ name, content, method, flags: bytes.readUInt16LE(at + 8) & 0x0806 });
    at += 46 + (nameLength ?? 0) + (extraLength ?? 0) + (commentLength ?? 0);
  }
  return entries;
}

const forgedOf = ({ name, content, method, flags }: Entry): Forged => ({
  name,
  content,
  method,
  flags,
  data: method === 8 ? deflateRawSync(content) : content,
});

/** Changes the content or name of an entry, or the list of entries; null if the bytes are no zip. */
export function mutateZip(bytes: Buffer, random: Random, change = mutateBytes): Buffer | null {
  const entries = entriesOf(bytes);
  if (!entries || entries.length === 0) return null;
  for (let round = random.pick([1, 1, 1, 2]); round > 0 && entries.length > 0; round -= 1) {
    const at = random.below(entries.length);
    const entry = random.pick(entries);
    const choice = random.below(10);
    if (choice < 7) entries[at] = { ...entry, content: change(entry.content, bytes, random) };
    else if (choice === 7) entries[at] = { ...entry, name: mutateBytes(entry.name, entry.name, random) };
    else entries.splice(at, random.below(2), ...(random.chance(0.6) ? [entry] : []));
  }
  const zip = forge(entries.map(forgedOf));
  return zip.length <= LARGEST ? zip : null;
}
