import { Stats } from 'node:fs';
import { invalid } from '../lib/errors.ts';

/** SSH_FXP_*: draft-ietf-secsh-filexfer-02 section 3, the version 3 that OpenSSH speaks. */
export const REQUEST = {
  INIT: 1,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  LSTAT: 7,
  FSTAT: 8,
  SETSTAT: 9,
  FSETSTAT: 10,
  OPENDIR: 11,
  READDIR: 12,
  REMOVE: 13,
  MKDIR: 14,
  RMDIR: 15,
  REALPATH: 16,
  STAT: 17,
  RENAME: 18,
  EXTENDED: 200,
} as const;

const RESPONSE = {
  VERSION: 2,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED: 201,
} as const;

/** SSH_FX_*: section 7. */
export const STATUS = {
  OK: 0,
  EOF: 1,
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  BAD_MESSAGE: 5,
  OP_UNSUPPORTED: 8,
} as const;

/** SSH_FXF_*: section 6.3. */
export const OPEN = { READ: 1, WRITE: 2, APPEND: 4, CREAT: 8, TRUNC: 16, EXCL: 32 } as const;

const ATTRIBUTE = { SIZE: 1, OWNER: 2, PERMISSIONS: 4, TIMES: 8, EXTENDED: 0x8000_0000 } as const;

/** The longest packet, in bytes, as in OpenSSH. */
export const PACKET_LIMIT = 256 * 1024;
/** The most that one READ or WRITE moves, in bytes: a packet less its headers. */
export const TRANSFER_LIMIT = PACKET_LIMIT - 1024;

/** Attributes that a client sets. Times are in seconds since 1970. */
export interface Attributes {
  size?: number;
  owner?: true;
  permissions?: number;
  times?: { accessed: number; modified: number };
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Reads a packet's fields in order; throws `sftp-malformed`. */
export class PacketReader {
  private at = 0;
  constructor(private readonly packet: Buffer) {}

  private next(length: number): Buffer {
    if (length > this.packet.length - this.at)
      throw invalid('sftp-malformed', 'an SFTP packet ends too early');
    this.at += length;
    return this.packet.subarray(this.at - length, this.at);
  }

  byte(): number {
    return this.next(1).readUInt8();
  }

  uint32(): number {
    return this.next(4).readUInt32BE();
  }

  /** Reads a uint64 that is a file offset or size: at most 2^53 - 1. */
  offset(): number {
    const value = this.next(8).readBigUInt64BE();
    if (value > BigInt(Number.MAX_SAFE_INTEGER))
      throw invalid('sftp-malformed', 'an SFTP offset is too large');
    return Number(value);
  }

  bytes(): Buffer {
    return this.next(this.uint32());
  }

  text(): string {
    try {
      return utf8.decode(this.bytes());
    } catch (error) {
      throw invalid('sftp-malformed', 'an SFTP name is not UTF-8', { cause: error });
    }
  }

  attributes(): Attributes {
    const flags = this.uint32();
    const attributes: Attributes = {};
    if (flags & ATTRIBUTE.SIZE) attributes.size = this.offset();
    if (flags & ATTRIBUTE.OWNER) {
      this.next(8);
      attributes.owner = true;
    }
    if (flags & ATTRIBUTE.PERMISSIONS) attributes.permissions = this.uint32();
    if (flags & ATTRIBUTE.TIMES) attributes.times = { accessed: this.uint32(), modified: this.uint32() };
    if (flags & ATTRIBUTE.EXTENDED) this.skipExtended();
    return attributes;
  }

  private skipExtended(): void {
    // Each pair takes at least eight bytes, so the packet's size bounds the count.
    for (let left = this.uint32(); left > 0; left--) {
      this.bytes();
      this.bytes();
    }
  }
}

export const uint32 = (value: number): Buffer => {
  const field = Buffer.alloc(4);
  field.writeUInt32BE(value);
  return field;
};

export const uint64 = (value: number): Buffer => {
  const field = Buffer.alloc(8);
  field.writeBigUInt64BE(BigInt(value));
  return field;
};

export const string = (value: string | Buffer): Buffer => {
  const content = Buffer.from(value);
  return Buffer.concat([uint32(content.length), content]);
};

function packet(type: number, ...fields: Buffer[]): Buffer {
  const length = fields.reduce((sum, field) => sum + field.length, 1);
  return Buffer.concat([uint32(length), Buffer.from([type]), ...fields]);
}

const seconds = (time: Date): number => Math.max(0, Math.floor(time.getTime() / 1000));

function attributesOf(stats: Stats): Buffer {
  const flags = ATTRIBUTE.SIZE | ATTRIBUTE.OWNER | ATTRIBUTE.PERMISSIONS | ATTRIBUTE.TIMES;
  return Buffer.concat([
    uint32(flags),
    uint64(stats.size),
    ...[stats.uid, stats.gid, stats.mode, seconds(stats.atime), seconds(stats.mtime)].map(uint32),
  ]);
}

/** A name in a NAME response; without `stats` for REALPATH. */
export interface NameEntry {
  name: string;
  stats?: Stats;
}

/** A line roughly like that of `ls -l`, which clients show to people. */
function longName({ name, stats }: NameEntry): string {
  if (!stats) return name;
  const kind = stats.isDirectory() ? 'd' : stats.isSymbolicLink() ? 'l' : '-';
  const bits = [8, 7, 6, 5, 4, 3, 2, 1, 0];
  const mode = bits.map((bit) => (stats.mode & (1 << bit) ? 'xwr'.charAt(bit % 3) : '-')).join('');
  return `${kind}${mode} ${stats.nlink} ${stats.uid} ${stats.gid} ${stats.size} ${stats.mtime.toISOString()} ${name}`;
}

/** The server's responses: whole packets with their length. */
export const response = {
  version: (extensions: Readonly<Record<string, string>>): Buffer =>
    packet(RESPONSE.VERSION, uint32(3), ...Object.entries(extensions).flat().map(string)),
  status: (id: number, code: number, message: string): Buffer =>
    packet(RESPONSE.STATUS, uint32(id), uint32(code), string(message), string('en')),
  handle: (id: number, handle: string): Buffer => packet(RESPONSE.HANDLE, uint32(id), string(handle)),
  data: (id: number, data: Buffer): Buffer => packet(RESPONSE.DATA, uint32(id), string(data)),
  attributes: (id: number, stats: Stats): Buffer => packet(RESPONSE.ATTRS, uint32(id), attributesOf(stats)),
  names: (id: number, entries: readonly NameEntry[]): Buffer =>
    packet(
      RESPONSE.NAME,
      uint32(id),
      uint32(entries.length),
      ...entries.flatMap((entry) => [
        string(entry.name),
        string(longName(entry)),
        entry.stats ? attributesOf(entry.stats) : uint32(0),
      ]),
    ),
  extended: (id: number, ...fields: Buffer[]): Buffer => packet(RESPONSE.EXTENDED, uint32(id), ...fields),
};
