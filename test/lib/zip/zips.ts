/** Zips for the tests, built record by record, so that any byte of them can be made wrong. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { crc32, deflateRawSync } from 'node:zlib';
import { readArchive, type Archive } from '../../../src/lib/zip/read-zip.ts';
import type { ArchiveEntry } from '../../../src/lib/zip/local-headers.ts';
import type { ArchiveLimits } from '../../../src/lib/zip/limits.ts';
import { BufferSource } from '../../../src/lib/bytes/byte-source.ts';

export const run = promisify(execFile);

export const LIMITS: ArchiveLimits = { archive: 2 ** 33, entries: 200_000, entry: 2 ** 32, ratio: 200 };

/** A temporary folder that is removed after the tests of the file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'signpipe-archive-'));
  after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface Forged {
  name: string | Buffer;
  content?: Buffer | string;
  /** 8 by default. */
  method?: number;
  /** Compressed bytes, if they are not the compressed content. */
  data?: Buffer;
  flags?: number;
  localExtra?: Buffer;
  centralExtra?: Buffer;
  comment?: string;
  attributes?: number;
  /** Follows the data if flag bit 3 is set; made by `descriptor` by default. */
  descriptor?: Buffer;
  /** Bytes before the local header. */
  gap?: Buffer;
  /** Changes the finished local and central header. */
  local?: (header: Buffer) => void;
  central?: (header: Buffer) => void;
}

export interface ForgedEnd {
  comment?: Buffer | string;
  beforeDirectory?: Buffer;
  afterDirectory?: Buffer;
  /** Changes the finished end record. */
  end?: (record: Buffer) => void;
}

export const extra = (id: number, data: Buffer): Buffer => {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(id, 0);
  head.writeUInt16LE(data.length, 2);
  return Buffer.concat([head, data]);
};

export function uint64(...values: number[]): Buffer {
  const result = Buffer.alloc(8 * values.length);
  values.forEach((value, index) => result.writeBigUInt64LE(BigInt(value), 8 * index));
  return result;
}

export function descriptor(
  crc: number,
  compressed: number,
  size: number,
  { signed = true, wide = false } = {},
): Buffer {
  const head = Buffer.alloc(signed ? 8 : 4);
  if (signed) head.writeUInt32LE(0x08074b50, 0);
  head.writeUInt32LE(crc, signed ? 4 : 0);
  if (wide) return Buffer.concat([head, uint64(compressed, size)]);
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32LE(compressed, 0);
  sizes.writeUInt32LE(size, 4);
  return Buffer.concat([head, sizes]);
}

interface Laid {
  local: Buffer;
  central: Buffer;
}

function lay(entry: Forged, offset: number): Laid {
  const name = Buffer.from(entry.name as string);
  const content = Buffer.from((entry.content ?? '') as string);
  const { method = 8, flags = 0x800, localExtra = Buffer.alloc(0), centralExtra = localExtra } = entry;
  const data = entry.data ?? (method === 8 ? deflateRawSync(content) : content);
  const comment = Buffer.from(entry.comment ?? '');
  const streamed = (flags & 8) !== 0;
  const crc = crc32(content);
  const local = Buffer.alloc(30);
  local.writeUInt32LE(0x04034b50, 0);
  local.writeUInt16LE(20, 4);
  local.writeUInt16LE(flags, 6);
  local.writeUInt16LE(method, 8);
  local.writeUInt32LE(0x5a215a21, 10);
  if (!streamed) {
    local.writeUInt32LE(crc, 14);
    local.writeUInt32LE(data.length, 18);
    local.writeUInt32LE(content.length, 22);
  }
  local.writeUInt16LE(name.length, 26);
  local.writeUInt16LE(localExtra.length, 28);
  entry.local?.(local);
  const central = Buffer.alloc(46);
  central.writeUInt32LE(0x02014b50, 0);
  central.writeUInt16LE(0x0314, 4);
  local.copy(central, 6, 4, 14);
  central.writeUInt16LE(flags, 8);
  central.writeUInt16LE(method, 10);
  central.writeUInt32LE(crc, 16);
  central.writeUInt32LE(data.length, 20);
  central.writeUInt32LE(content.length, 24);
  central.writeUInt16LE(name.length, 28);
  central.writeUInt16LE(centralExtra.length, 30);
  central.writeUInt16LE(comment.length, 32);
  central.writeUInt32LE(entry.attributes ?? 0o100644 * 65536, 38);
  central.writeUInt32LE(offset, 42);
  entry.central?.(central);
  const tail = streamed
    ? (entry.descriptor ?? descriptor(crc, data.length, content.length))
    : Buffer.alloc(0);
  return {
    local: Buffer.concat([local, name, localExtra, data, tail]),
    central: Buffer.concat([central, name, centralExtra, comment]),
  };
}

/** A zip of these entries; sound unless their options break it. */
export function forge(entries: Forged[], options: ForgedEnd = {}): Buffer {
  const body: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const entry of entries) {
    const gap = entry.gap ?? Buffer.alloc(0);
    const { local, central } = lay(entry, at + gap.length);
    body.push(gap, local);
    directory.push(central);
    at += gap.length + local.length;
  }
  const before = options.beforeDirectory ?? Buffer.alloc(0);
  const comment = Buffer.from((options.comment ?? '') as string);
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  // Bits that do not fit are cut off, as by old zip programs.
  end.writeUInt16LE(entries.length & 0xffff, 8);
  end.writeUInt16LE(entries.length & 0xffff, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at + before.length, 16);
  end.writeUInt16LE(comment.length, 20);
  options.end?.(end);
  return Buffer.concat([...body, before, central, options.afterDirectory ?? Buffer.alloc(0), end, comment]);
}

/** What Android's build tools put in place of a deleted entry: a local header of zeros, and more zeros after it. */
export function virtualEntry(zeros: number): Buffer {
  const result = Buffer.alloc(30 + zeros);
  result.writeUInt32LE(0x04034b50, 0);
  result.writeUInt16LE(zeros, 28);
  return result;
}

/** The zip64 end record and locator that follow a directory. */
export function zip64End(count: number, size: number, offset: number, data = Buffer.alloc(0)): Buffer {
  const record = Buffer.alloc(56);
  record.writeUInt32LE(0x06064b50, 0);
  record.writeBigUInt64LE(BigInt(44 + data.length), 4);
  record.writeUInt32LE(0x002d002d, 12);
  uint64(count, count, size, offset).copy(record, 24);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + size), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([record, data, locator]);
}

const widened = (header: Buffer, at: number): void => void header.fill(0xff, at, at + 4);

/** A zip64 whose only entry, `z`, has 64-bit sizes and offset in its extra fields and its descriptor. */
export function forgeZip64(): Buffer {
  const entry: Forged = {
    name: 'z',
    content: 'zip64',
    method: 0,
    flags: 0x808,
    localExtra: extra(1, uint64(0, 0)),
    centralExtra: extra(1, uint64(5, 5, 0)),
    local: (header: Buffer) => [18, 22].forEach((at) => widened(header, at)),
    central: (header: Buffer) => [20, 24, 42].forEach((at) => widened(header, at)),
    descriptor: descriptor(crc32('zip64'), 5, 5, { wide: true }),
  };
  const bare = forge([entry]);
  const tail = zip64End(1, bare.readUInt32LE(bare.length - 10), bare.readUInt32LE(bare.length - 6));
  return forge([entry], { afterDirectory: tail });
}

export const read = (bytes: Buffer, limits: Partial<ArchiveLimits> = {}): Promise<Archive> =>
  readArchive(new BufferSource(bytes, 'test.zip'), { ...LIMITS, ...limits });

export function entryOf(archive: Archive, path: string): ArchiveEntry {
  const entry = archive.entries.find((each) => each.path === path);
  if (!entry) throw new Error(`no entry ${path}`);
  return entry;
}

/** The whole content of an entry. */
export async function contentOf(archive: Archive, path: string): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const chunk of await archive.open(entryOf(archive, path))) parts.push(chunk);
  return Buffer.concat(parts);
}

export const readZipFile = async (path: string): Promise<Archive> => read(await readFile(path));

/** Bytes that deflate shrinks to about half; the same for the same seed. */
export function sample(length: number, seed = 1): Buffer {
  const result = Buffer.alloc(length);
  const next = random(seed);
  for (let i = 0; i < length; i++) result[i] = next() & (i & 64 ? 0x0f : 0x7f);
  return result;
}

/** xorshift32: reproducible numbers from 0 to 2^32 - 1. */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
}

/** Every raw part of a zip as Python's struct and zipfile read it, independent of our reader. */
interface RawEntry {
  name: string;
  /** Headers in hex, without CRC-32, sizes and offset (in the directory's zip64 field too). */
  local: string;
  central: string;
  /** SHA-256 of the compressed data, and of the content (null if Python cannot decompress it). */
  data: string;
  /** SHA-256 of the bytes between the data and what follows. */
  behind: string;
  content: string | null;
}

const PYTHON = String.raw`
import hashlib, json, struct, sys, zipfile
raw = open(sys.argv[1], 'rb').read()
z = zipfile.ZipFile(sys.argv[1])
h = lambda b: hashlib.sha256(b).hexdigest()
infos = z.infolist()
starts = sorted([i.header_offset for i in infos] + [z.start_dir])
at, out = z.start_dir, []
for i in infos:
    n, m = struct.unpack('<HH', raw[i.header_offset + 26:i.header_offset + 30])
    data = i.header_offset + 30 + n + m
    local = bytearray(raw[i.header_offset:data]); local[14:26] = b'\0' * 12
    length = 46 + sum(struct.unpack('<HHH', raw[at + 28:at + 34]))
    central = bytearray(raw[at:at + length]); central[16:28] = b'\0' * 12; central[42:46] = b'\0' * 4
    at += length
    place = 46 + struct.unpack('<H', central[28:30])[0]
    while place + 4 <= 46 + sum(struct.unpack('<HH', central[28:32])):
        id, size = struct.unpack('<HH', central[place:place + 4])
        if id == 1: central[place + 4:place + 4 + size] = b'\0' * size
        place += 4 + size
    following = min(s for s in starts if s > i.header_offset)
    try: content = h(z.read(i))
    except (NotImplementedError, RuntimeError): content = None
    out.append(dict(name=i.filename, local=local.hex(), central=central.hex(), content=content,
      data=h(raw[data:data + i.compress_size]), behind=h(raw[data + i.compress_size:following])))
print(json.dumps(dict(entries=out, comment=z.comment.hex(), bad=z.testzip() if all(e['content'] for e in out) else None)))
`;

export async function rawEntries(
  path: string,
): Promise<{ entries: RawEntry[]; comment: string; bad: string | null }> {
  const { stdout } = await run('python3', ['-c', PYTHON, path], { maxBuffer: 64 * 1024 * 1024 });
  return JSON.parse(stdout) as { entries: RawEntry[]; comment: string; bad: string | null };
}

export async function save(folder: string, name: string, bytes: Buffer): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, bytes);
  return path;
}
