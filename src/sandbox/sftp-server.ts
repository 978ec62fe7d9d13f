import { constants } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rmdir, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { once } from 'node:events';
import { hasCode, messageOf, notAllowed, SignpipeError } from '../lib/errors.ts';
import { writeFully } from '../lib/bytes/read-write-fully.ts';
import type { Chroot } from './chroot-path.ts';
import {
  OPEN,
  PACKET_LIMIT,
  PacketReader,
  REQUEST,
  response,
  STATUS,
  TRANSFER_LIMIT,
  uint64,
  type Attributes,
  type NameEntry,
} from './sftp-packet.ts';

/** The most files and folders that a client may have open. */
const HANDLE_LIMIT = 64;
/** Bytes that `copy-data` reads and writes at a time. */
const COPY_SIZE = 1024 * 1024;
/** The most names in a response to READDIR. */
const NAMES_PER_RESPONSE = 100;

/** The extensions of version 3 that this server offers (OpenSSH's PROTOCOL, section 4). */
const EXTENSIONS = {
  'posix-rename@openssh.com': '1',
  'fsync@openssh.com': '1',
  'limits@openssh.com': '1',
  'copy-data': '1',
};

/** An open folder, with the names that have not been sent yet. */
interface Listing {
  readonly folder: string;
  readonly names: string[];
}

/** Called with each operation of a client. */
type SftpListener = (operation: string, path: string) => void;

type ReplyPacket = Promise<Buffer>;
type Handler = (id: number, packet: PacketReader) => ReplyPacket;

/**
 * An SFTP version 3 server (draft-ietf-secsh-filexfer-02) over one channel, confined to a folder.
 * ssh2's own server cannot announce extensions, and clients use only announced ones. Requests are carried out one
 * after another, in order.
 */
export class SftpServer {
  private readonly open = new Map<string, FileHandle | Listing>();
  private lastHandle = 0;

  constructor(
    private readonly chroot: Chroot,
    private readonly onOperation: SftpListener = () => {},
  ) {}

  /** Serves until the client disconnects; throws `sftp-malformed` if it does not speak SFTP. */
  async serve(channel: Duplex): Promise<void> {
    try {
      for await (const packet of packets(channel)) {
        const reply = await this.reply(packet);
        if (!channel.write(reply)) await once(channel, 'drain');
      }
    } finally {
      for (const handle of this.open.values()) if (!isListing(handle)) await handle.close().catch(() => {});
      this.open.clear();
    }
  }

  private async reply(bytes: Buffer): ReplyPacket {
    const packet = new PacketReader(bytes);
    const type = packet.byte();
    if (type === REQUEST.INIT) return response.version(EXTENSIONS);
    const id = packet.uint32();
    const handler = this.handlers.get(type);
    if (!handler) return response.status(id, STATUS.OP_UNSUPPORTED, 'not offered here');
    try {
      return await handler(id, packet);
    } catch (error) {
      return response.status(id, statusOf(error), textOf(error));
    }
  }

  private readonly handlers: ReadonlyMap<number, Handler> = new Map<number, Handler>([
    [REQUEST.OPEN, (id, p) => this.openFile(id, p.text(), p.uint32(), p.attributes())],
    [REQUEST.CLOSE, (id, p) => this.close(id, p.text())],
    [REQUEST.READ, (id, p) => this.read(id, this.file(p.text()), p.offset(), p.uint32())],
    [REQUEST.WRITE, (id, p) => this.write(id, this.file(p.text()), p.offset(), p.bytes())],
    [REQUEST.LSTAT, (id, p) => this.stat(id, p.text(), { linkItself: true })],
    [REQUEST.STAT, (id, p) => this.stat(id, p.text(), {})],
    [REQUEST.FSTAT, async (id, p) => response.attributes(id, await this.file(p.text()).stat())],
    [REQUEST.SETSTAT, (id, p) => this.setAttributes(id, p.text(), p.attributes())],
    [REQUEST.FSETSTAT, (id, p) => this.setFileAttributes(id, this.file(p.text()), p.attributes())],
    [REQUEST.OPENDIR, (id, p) => this.openFolder(id, p.text())],
    [REQUEST.READDIR, (id, p) => this.readFolder(id, p.text())],
    [REQUEST.REMOVE, (id, p) => this.remove(id, p.text())],
    [REQUEST.MKDIR, (id, p) => this.makeFolder(id, p.text())],
    [REQUEST.RMDIR, (id, p) => this.removeFolder(id, p.text())],
    [REQUEST.REALPATH, async (id, p) => response.names(id, [{ name: this.chroot.normalize(p.text()) }])],
    [REQUEST.RENAME, (id, p) => this.renameToNew(id, p.text(), p.text())],
    [REQUEST.EXTENDED, (id, p) => this.extended(id, p.text(), p)],
  ]);

  private keep(handle: FileHandle | Listing): string {
    const name = String(++this.lastHandle);
    this.open.set(name, handle);
    return name;
  }

  private requireRoom(): void {
    if (this.open.size >= HANDLE_LIMIT)
      throw notAllowed('sftp-too-many-open', `more than ${HANDLE_LIMIT} files are open`);
  }

  private file(name: string): FileHandle {
    const handle = this.open.get(name);
    if (!handle || isListing(handle)) throw notAllowed('sftp-handle', 'no such open file');
    return handle;
  }

  private async openFile(id: number, path: string, flags: number, attributes: Attributes): ReplyPacket {
    this.requireRoom();
    const local = await this.chroot.locate(path);
    const writes = (flags & OPEN.WRITE) !== 0;
    this.onOperation(writes ? 'write' : 'read', this.chroot.normalize(path));
    // O_NONBLOCK: opening a pipe must not wait for its other end. It has no effect on regular files.
    const mode = (attributes.permissions ?? 0o666) & 0o777;
    const file = await open(local, openFlags(flags) | constants.O_NOFOLLOW | constants.O_NONBLOCK, mode);
    if ((await file.stat()).isFile()) return response.handle(id, this.keep(file));
    await file.close();
    throw notAllowed('sftp-not-a-file', `${path}: not a regular file`);
  }

  private async close(id: number, name: string): ReplyPacket {
    const handle = this.open.get(name);
    this.open.delete(name);
    if (handle && !isListing(handle)) await handle.close();
    return handle ? done(id) : response.status(id, STATUS.FAILURE, 'no such handle');
  }

  private async read(id: number, file: FileHandle, offset: number, length: number): ReplyPacket {
    const buffer = Buffer.allocUnsafe(Math.min(length, TRANSFER_LIMIT));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    if (bytesRead === 0) return response.status(id, STATUS.EOF, 'end of file');
    return response.data(id, buffer.subarray(0, bytesRead));
  }

  private async write(id: number, file: FileHandle, offset: number, data: Buffer): ReplyPacket {
    await writeFully(file, data, offset);
    return done(id);
  }

  private async stat(id: number, path: string, options: { linkItself?: boolean }): ReplyPacket {
    return response.attributes(id, await lstat(await this.chroot.locate(path, options)));
  }

  private async setAttributes(id: number, path: string, attributes: Attributes): ReplyPacket {
    const local = await this.chroot.locate(path);
    const file = await open(local, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      if (attributes.size === undefined) return await this.setFileAttributes(id, file, attributes);
    } finally {
      await file.close();
    }
    throw notAllowed('sftp-truncate', `${path}: open the file to change its size`);
  }

  private async setFileAttributes(id: number, file: FileHandle, attributes: Attributes): ReplyPacket {
    if (attributes.owner) throw notAllowed('sftp-owner', 'owners cannot be changed here');
    if (attributes.size !== undefined) await file.truncate(attributes.size);
    if (attributes.permissions !== undefined) await file.chmod(attributes.permissions & 0o777);
    if (attributes.times) await file.utimes(attributes.times.accessed, attributes.times.modified);
    return done(id);
  }

  private async openFolder(id: number, path: string): ReplyPacket {
    this.requireRoom();
    const folder = await this.chroot.locate(path);
    return response.handle(id, this.keep({ folder, names: ['.', '..', ...(await readdir(folder))] }));
  }

  private async readFolder(id: number, name: string): ReplyPacket {
    const listing = this.open.get(name);
    if (!listing || !isListing(listing)) throw notAllowed('sftp-handle', 'no such open folder');
    const names = listing.names.splice(0, NAMES_PER_RESPONSE);
    if (names.length === 0) return response.status(id, STATUS.EOF, 'no more names');
    const entries = await Promise.all(names.map((each) => entryOf(listing.folder, each)));
    return response.names(id, entries.flat());
  }

  private async remove(id: number, path: string): ReplyPacket {
    this.onOperation('remove', this.chroot.normalize(path));
    await unlink(await this.chroot.locate(path, { linkItself: true }));
    return done(id);
  }

  private async makeFolder(id: number, path: string): ReplyPacket {
    await mkdir(await this.chroot.locate(path));
    return done(id);
  }

  private async removeFolder(id: number, path: string): ReplyPacket {
    await rmdir(await this.chroot.locate(path));
    return done(id);
  }

  /** Version 3's RENAME, which never replaces a file. */
  private async renameToNew(id: number, from: string, to: string): ReplyPacket {
    const target = await this.chroot.locate(to, { linkItself: true });
    const existing = await lstat(target).catch(() => null);
    if (existing) return response.status(id, STATUS.FAILURE, 'the new name is taken');
    return this.renameOver(id, from, to);
  }

  private async renameOver(id: number, from: string, to: string): ReplyPacket {
    const source = await this.chroot.locate(from);
    const target = await this.chroot.locate(to);
    await rename(source, target);
    this.onOperation('rename', this.chroot.normalize(to));
    return done(id);
  }

  /** Like OpenSSH: a length of 0 copies to the end, and a source that ends before is not an error. */
  private async copy(id: number, packet: PacketReader): ReplyPacket {
    const from = this.file(packet.text());
    const [start, length] = [packet.offset(), packet.offset()];
    const to = this.file(packet.text());
    const at = packet.offset();
    if (from === to) return response.status(id, STATUS.FAILURE, 'a file cannot be copied into itself');
    const end = length === 0 ? Infinity : start + length;
    const buffer = Buffer.allocUnsafe(COPY_SIZE);
    for (let offset = start; offset < end;) {
      const { bytesRead } = await from.read(buffer, 0, Math.min(COPY_SIZE, end - offset), offset);
      if (bytesRead === 0) break;
      await this.write(id, to, at + offset - start, buffer.subarray(0, bytesRead));
      offset += bytesRead;
    }
    return done(id);
  }

  private async extended(id: number, name: string, packet: PacketReader): ReplyPacket {
    switch (name) {
      case 'posix-rename@openssh.com':
        return this.renameOver(id, packet.text(), packet.text());
      case 'fsync@openssh.com':
        await this.file(packet.text()).sync();
        return done(id);
      case 'limits@openssh.com':
        return response.extended(
          id,
          ...[PACKET_LIMIT, TRANSFER_LIMIT, TRANSFER_LIMIT, HANDLE_LIMIT].map(uint64),
        );
      case 'copy-data':
        return this.copy(id, packet);
      default:
        return response.status(id, STATUS.OP_UNSUPPORTED, 'no such extension here');
    }
  }
}

const done = (id: number): Buffer => response.status(id, STATUS.OK, 'done');

const isListing = (handle: FileHandle | Listing): handle is Listing => 'names' in handle;

/** Splits the client's bytes into packets, each without its length field. */
async function* packets(channel: Duplex): AsyncGenerator<Buffer> {
  let waiting: Buffer = Buffer.alloc(0);
  // After the client's end of file the channel stays open for the exit status.
  const chunks: AsyncIterable<Buffer> = channel.iterator({ destroyOnReturn: false });
  for await (const chunk of chunks) {
    waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
    while (waiting.length >= 4) {
      const length = waiting.readUInt32BE();
      if (length === 0 || length > PACKET_LIMIT)
        throw notAllowed('sftp-malformed', `an SFTP packet of ${length} bytes`);
      if (waiting.length < 4 + length) break;
      yield waiting.subarray(4, 4 + length);
      waiting = waiting.subarray(4 + length);
    }
  }
}

function openFlags(flags: number): number {
  const access = flags & (OPEN.READ | OPEN.WRITE);
  const both = access === (OPEN.READ | OPEN.WRITE);
  const mode = both ? constants.O_RDWR : access === OPEN.WRITE ? constants.O_WRONLY : constants.O_RDONLY;
  return (
    mode |
    (flags & OPEN.APPEND ? constants.O_APPEND : 0) |
    (flags & OPEN.CREAT ? constants.O_CREAT : 0) |
    (flags & OPEN.TRUNC ? constants.O_TRUNC : 0) |
    (flags & OPEN.EXCL ? constants.O_EXCL : 0)
  );
}

async function entryOf(folder: string, name: string): Promise<NameEntry[]> {
  // Names that were removed since the folder was read are omitted.
  const stats = await lstat(name === '..' ? folder : join(folder, name)).catch(() => null);
  return stats ? [{ name, stats }] : [];
}

function statusOf(error: unknown): number {
  if (error instanceof SignpipeError) {
    if (error.code === 'path-symlink' || error.code === 'sftp-owner') return STATUS.PERMISSION_DENIED;
    return error.kind === 'invalid' ? STATUS.BAD_MESSAGE : STATUS.FAILURE;
  }
  if (hasCode(error, 'ENOENT')) return STATUS.NO_SUCH_FILE;
  if (['EACCES', 'EPERM', 'ELOOP', 'EROFS'].some((code) => hasCode(error, code)))
    return STATUS.PERMISSION_DENIED;
  return STATUS.FAILURE;
}

/** The error text for the client, without this machine's paths, which system errors contain. */
function textOf(error: unknown): string {
  if (error instanceof SignpipeError) return messageOf(error);
  if (error instanceof Error && 'code' in error) return String(error.code);
  return 'failure';
}
