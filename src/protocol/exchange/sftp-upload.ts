import { posix } from 'node:path';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/all-settled.ts';
import type { DeliverOptions } from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { remotePath, parentFolders, temporaryName } from './path.ts';
import { requestPool, writeBehind } from './pipelined-io.ts';
import { remoteHashMatches } from './remote-hash.ts';
import { hasStatus, isUnsupported, STATUS } from './sftp-channel.ts';
import type { SftpSession } from './sftp-session.ts';
import { blocksToSend, whyDifferent } from './local-file-transfer.ts';

const isFile = (session: SftpSession, path: string): Promise<boolean> =>
  session.stat(path).then(
    ({ kind }) => kind === 'file',
    () => false,
  );

/** An upload to an SFTP exchange: written under a temporary name, renamed to its target after verification. */
export class SftpUpload {
  readonly target: string;
  /** Hidden, beside the target. */
  temporary: string;
  /** The offset up to which the server has confirmed every write. */
  written = 0;

  constructor(
    private readonly root: string,
    /** As the caller gave it, for messages. */
    readonly path: string,
    token?: string,
  ) {
    this.target = remotePath(root, path);
    this.temporary = temporaryName(this.target, token);
  }

  /** Creates the temporary file, and missing folders below the root. */
  async create(session: SftpSession): Promise<Buffer> {
    const { temporary } = this;
    try {
      return await session.open(temporary, 'wx');
    } catch (error) {
      if (!hasStatus(error, STATUS.noSuchFile)) throw error;
      const folders = parentFolders(this.root, this.path);
      for (const folder of folders) await session.makeFolder(folder).catch(() => {}); // Most exist.
      return session.open(temporary, 'wx').catch((again: unknown) => {
        if (!hasStatus(again, STATUS.noSuchFile)) throw again;
        throw failures.folderMissing(posix.dirname(temporary), again);
      });
    }
  }

  /**
   * Sends the content, from its beginning or from where the connection was cut, flushes and verifies it, and gives it
   * its name.
   */
  async send(session: SftpSession, content: ByteSource, options: DeliverOptions): Promise<void> {
    const handle = (await this.reopen(session)) ?? (await this.create(session));
    const start = this.written;
    const pool = requestPool();
    await this.finish(session, handle, async () => {
      await writeBehind(
        blocksToSend(content, options, { start, pool }),
        (offset, bytes) => session.write(handle, offset, bytes),
        { start, pool, onWritten: (end) => (this.written = end) },
      );
      // In this order, since the server answers later requests only after a flush.
      const [, flushed] = await settleAll([this.verify(session, content, options), session.flush(handle)]);
      return flushed;
    });
  }

  /** Lets `fill` write and verify the new file, closes it and gives it its name. `fill` returns whether it was flushed. */
  async finish(session: SftpSession, handle: Buffer, fill: () => Promise<boolean>): Promise<void> {
    let flushed: boolean;
    try {
      flushed = await fill();
    } catch (error) {
      await session.closeHandle(handle).catch(() => {});
      throw error;
    }
    const closing = session.closeHandle(handle);
    // Without a flush, the server may report a full disk only on close.
    if (!flushed) await closing;
    await settleAll([closing, this.publish(session)]);
  }

  /** Reopens the temporary file to resume; null, and the file removed, if it cannot be resumed. */
  private async reopen(session: SftpSession): Promise<Buffer | null> {
    if (this.written === 0) return null;
    try {
      // `lstat`, since a link in its place could lead the upload elsewhere.
      const entry = await session.lstat(this.temporary);
      if (entry.kind === 'file' && entry.size > 0) {
        this.written = Math.min(this.written, entry.size);
        return await session.open(this.temporary, 'r+');
      }
    } catch (error) {
      // If the server does not report or reopen it, it is sent again.
      if (!session.alive) throw error;
    }
    this.written = 0;
    await this.clear(session);
    return null;
  }

  /**
   * Cleans up after a crash or a cut connection: removes the temporary file, or chooses another name for it if the
   * server deletes nothing; renames the old target back if it was being replaced in two steps.
   */
  async clear(session: SftpSession): Promise<void> {
    if (!(await session.remove(this.temporary)) && (await session.isThere(this.temporary)))
      this.temporary = temporaryName(this.target);
    if (session.canReplace) return;
    if (await session.isThere(this.target)) await session.remove(this.aside);
    else await session.rename(this.aside, this.target).catch(() => {}); // Usually it does not exist.
  }

  /** Verifies the stored file; throws `exchange-verify-failed` or `exchange-local-file`. */
  private async verify(session: SftpSession, content: ByteSource, expected: DeliverOptions): Promise<void> {
    const { path, temporary } = this;
    const { size } = await session.stat(temporary);
    if (size !== expected.size) throw failures.wrongSize(path, size, expected.size);
    if (await remoteHashMatches((command, ms) => session.run(command, ms), temporary, expected)) return;
    const handle = await session.open(temporary, 'r');
    try {
      const actual = await sha256OfStream(session.blocks(handle, 0, size, path));
      if (actual !== expected.sha256) throw await whyDifferent(content, path, expected);
    } finally {
      await session.closeHandle(handle).catch(() => {});
    }
  }

  /** Renames the file to its target, replacing an existing file. */
  private async publish(session: SftpSession): Promise<void> {
    const { path, temporary, target } = this;
    if (await session.replace(temporary, target)) return;
    try {
      await session.rename(temporary, target);
    } catch (error) {
      if (isUnsupported(error)) throw failures.noRename(path, error);
      if (!session.alive || !(await isFile(session, target))) throw error;
      await this.replaceInTwoSteps(session);
    }
  }

  /**
   * Without posix-rename@openssh.com: moves the old file aside first, and back if the new one cannot be renamed. For a
   * moment there is no file under the name.
   */
  private async replaceInTwoSteps(session: SftpSession): Promise<void> {
    const { temporary, target, aside } = this;
    await session.rename(target, aside);
    try {
      await session.rename(temporary, target);
    } catch (error) {
      await session.rename(aside, target).catch(() => {});
      throw error;
    }
    await session.remove(aside);
  }

  /** The old file's name in that moment. */
  private get aside(): string {
    return `${this.temporary.slice(0, -'.part'.length)}.old`;
  }
}
