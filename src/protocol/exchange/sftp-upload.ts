import { posix } from 'node:path';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import type { DeliverOptions } from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { below, foldersOf, temporaryName } from './path.ts';
import { requestPool, writeBehind } from './pipelined-io.ts';
import { hashesThere } from './remote-hash.ts';
import { hasStatus, isUnsupported, STATUS } from './sftp-channel.ts';
import type { SftpSession } from './sftp-session.ts';
import { blocksToSend, whyDifferent } from './receive-send.ts';

const isFile = (session: SftpSession, path: string): Promise<boolean> =>
  session.stat(path).then(
    ({ kind }) => kind === 'file',
    () => false,
  );

/** A file on its way to an SFTP exchange: it grows under a temporary name, and gets its own when it is right. */
export class Upload {
  readonly target: string;
  /** Hidden, beside the target. */
  temporary: string;
  /** Up to where the server has answered for every byte. */
  written = 0;

  constructor(
    private readonly root: string,
    /** As the caller has it, for messages. */
    readonly path: string,
    token?: string,
  ) {
    this.target = below(root, path);
    this.temporary = temporaryName(this.target, token);
  }

  /** A new file; the folders that `path` names below the root are made when they are missing. */
  async create(session: SftpSession): Promise<Buffer> {
    const { temporary } = this;
    try {
      return await session.open(temporary, 'wx');
    } catch (error) {
      if (!hasStatus(error, STATUS.noSuchFile)) throw error;
      const folders = foldersOf(this.root, this.path);
      for (const folder of folders) await session.makeFolder(folder).catch(() => {}); // Most exist.
      return session.open(temporary, 'wx').catch((again: unknown) => {
        if (!hasStatus(again, STATUS.noSuchFile)) throw again;
        throw failures.folderMissing(posix.dirname(temporary), again);
      });
    }
  }

  /**
   * Sends the content, from its beginning or from where a cut connection left it; it has its name when it was
   * flushed there, and is what it should be.
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
      // In this order: what is asked for after a flush is answered after it.
      const [, flushed] = await settleAll([this.verify(session, content, options), session.flush(handle)]);
      return flushed;
    });
  }

  /** Fills and verifies what was created, then closes it and gives it its name. `fill` tells whether it was flushed. */
  async finish(session: SftpSession, handle: Buffer, fill: () => Promise<boolean>): Promise<void> {
    let flushed: boolean;
    try {
      flushed = await fill();
    } catch (error) {
      await session.closeHandle(handle).catch(() => {});
      throw error;
    }
    const closing = session.closeHandle(handle);
    // Of what was not flushed, it may be only then that the server finds its disk full.
    if (!flushed) await closing;
    await settleAll([closing, this.publish(session)]);
  }

  /** What lies under the temporary name, to go on with; null, and nothing there any more, when it is of no use. */
  private async reopen(session: SftpSession): Promise<Buffer | null> {
    if (this.written === 0) return null;
    try {
      // Of the name itself: a link that was put in its place would lead the upload elsewhere.
      const found = await session.lstat(this.temporary);
      if (found.kind === 'file' && found.size > 0) {
        this.written = Math.min(this.written, found.size);
        return await session.open(this.temporary, 'r+');
      }
    } catch (error) {
      // If the server does not say, or does not open it again, it is sent once more.
      if (!session.alive) throw error;
    }
    this.written = 0;
    await this.clear(session);
    return null;
  }

  /**
   * Takes away what a crash or a cut connection left: the temporary file, or chooses another name for it if the
   * server deletes nothing; and the target, if it was being replaced in two steps, gets its name back.
   */
  async clear(session: SftpSession): Promise<void> {
    if (!(await session.remove(this.temporary)) && (await session.isThere(this.temporary)))
      this.temporary = temporaryName(this.target);
    if (session.canReplace) return;
    if (await session.isThere(this.target)) await session.remove(this.aside);
    else await session.rename(this.aside, this.target).catch(() => {}); // Nothing is there, as a rule.
  }

  /** Holds what was stored against what should be; throws `exchange-verify-failed` or `exchange-local-file`. */
  private async verify(session: SftpSession, content: ByteSource, expected: DeliverOptions): Promise<void> {
    const { path, temporary } = this;
    const { size } = await session.stat(temporary);
    if (size !== expected.size)
      throw failures.verifyFailed(path, `${size} bytes instead of ${expected.size}`);
    if (await hashesThere((command, ms) => session.run(command, ms), temporary, expected)) return;
    const handle = await session.open(temporary, 'r');
    try {
      const actual = await sha256OfStream(session.blocks(handle, 0, size, path));
      if (actual !== expected.sha256) throw await whyDifferent(content, path, expected);
    } finally {
      await session.closeHandle(handle).catch(() => {});
    }
  }

  /** Gives it its name, over whatever bears it. */
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
   * Without posix-rename@openssh.com: the old file is moved aside first, and back if the new one cannot take its
   * place. For a moment nothing bears the name.
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

  /** Where the old file is for that moment. */
  private get aside(): string {
    return `${this.temporary.slice(0, -'.part'.length)}.old`;
  }
}
