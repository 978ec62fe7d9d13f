import { posix } from 'node:path';
import type { Stats } from 'ssh2';
import { messageOf, SignpipeError } from '../errors.ts';
import { sha256OfStream } from '../io/hash.ts';
import type { SshLocation, SshOptions } from '../ssh/connection.ts';
import type { DeliverOptions, Exchange, Fetched, FetchOptions, OpenFile, RemoteFile } from './contract.ts';
import * as failures from './failures.ts';
import { KeptOpen } from './kept-open.ts';
import { below, foldersOf, temporaryName } from './path.ts';
import { readAhead, writeBehind } from './pipeline.ts';
import { hashesThere } from './remote-hash.ts';
import { RemoteSource } from './remote-source.ts';
import { hasStatus, SftpSession, STATUS } from './sftp-session.ts';
import { announced, receive } from './transfer.ts';

/** A regular file that is open on the exchange. */
interface Held {
  readonly session: SftpSession;
  readonly handle: Buffer;
  readonly stats: Stats;
}

const isSame = (a: Stats, b: Stats): boolean => a.size === b.size && a.mtime === b.mtime;

function requireRegular(stats: Stats, name: string): void {
  if (!stats.isFile()) throw failures.notAFile(name);
  if (!Number.isSafeInteger(stats.size) || stats.size < 0) throw failures.refused(name, 'an impossible size');
}

/** The exchange over SFTP (draft-ietf-secsh-filexfer-02, with OpenSSH's PROTOCOL extensions). */
export class SftpExchange implements Exchange {
  private readonly kept: KeptOpen<SftpSession>;
  /** Temporary files that could not be removed because the connection was gone. */
  private readonly leftovers = new Set<string>();

  constructor(
    private readonly location: SshLocation,
    ssh: SshOptions,
    stallTimeoutMs: number,
  ) {
    this.kept = new KeptOpen(async () => {
      const session = await SftpSession.open(location, ssh, stallTimeoutMs);
      await this.sweep(session);
      return session;
    });
  }

  /** Connects, so that a wrong key or host shows at once. */
  async connect(): Promise<this> {
    await this.kept.get();
    return this;
  }

  close(): Promise<void> {
    return this.kept.close();
  }

  async stat(path: string): Promise<RemoteFile | null> {
    const place = below(this.location.path, path);
    const session = await this.kept.get();
    try {
      const stats = await session.stat(place);
      requireRegular(stats, path);
      return { size: stats.size, modified: new Date(stats.mtime * 1000) };
    } catch (error) {
      const failure = await this.explain(error, path, session);
      if (failure.code === 'exchange-file-missing') return null;
      throw failure;
    }
  }

  fetch(path: string, destination: string, { limit, onProgress }: FetchOptions): Promise<Fetched> {
    return this.holding(path, async ({ session, handle, stats }) => {
      if (stats.size > limit) throw failures.tooLarge(path, stats.size, limit);
      const read = (offset: number, length: number): Promise<Buffer> =>
        session.read(handle, offset, length, path);
      const confirm = async (): Promise<void> => {
        if (!isSame(stats, await session.fstat(handle))) throw failures.fileChanged(path);
      };
      const incoming = { name: path, size: stats.size, content: readAhead(0, stats.size, read), confirm };
      return receive(incoming, destination, onProgress);
    });
  }

  async openRead(path: string): Promise<OpenFile> {
    const { session, handle, stats } = await this.hold(path);
    const read = async (offset: number, length: number): Promise<Buffer> => {
      try {
        return await session.read(handle, offset, length, path);
      } catch (error) {
        throw await this.explain(error, path, session);
      }
    };
    return new RemoteSource(path, stats.size, read, () => session.closeHandle(handle).catch(() => {}));
  }

  async deliver(file: string, path: string, options: DeliverOptions): Promise<void> {
    const target = below(this.location.path, path);
    const temporary = temporaryName(target, options.temporary);
    const session = await this.kept.get();
    try {
      // What a crash during an earlier delivery left behind; nothing, as a rule.
      if (options.temporary !== undefined) await session.remove(temporary);
      await this.upload(session, file, path, temporary, options);
      await this.verify(session, path, temporary, options);
      await this.publish(session, path, temporary, target);
    } catch (error) {
      const failure = await this.explain(error, path, session);
      await this.discard(temporary);
      throw failures.whileDelivering(path, failure);
    }
  }

  /** Opens a regular file. It is looked at before: opening a pipe would hang the server's end. */
  private async hold(path: string): Promise<Held> {
    const place = below(this.location.path, path);
    const session = await this.kept.get();
    try {
      requireRegular(await session.stat(place), path);
      const handle = await session.open(place, 'r');
      const stats = await session.fstat(handle);
      requireRegular(stats, path);
      return { session, handle, stats };
    } catch (error) {
      throw await this.explain(error, path, session);
    }
  }

  private async holding<T>(path: string, use: (held: Held) => Promise<T>): Promise<T> {
    const held = await this.hold(path);
    try {
      return await use(held);
    } catch (error) {
      throw await this.explain(error, path, held.session);
    } finally {
      if (held.session.alive) await held.session.closeHandle(held.handle).catch(() => {});
    }
  }

  /** A new file; the folders that `path` names below the root are made when they are missing. */
  private async create(session: SftpSession, path: string, temporary: string): Promise<Buffer> {
    try {
      return await session.open(temporary, 'wx');
    } catch (error) {
      if (!hasStatus(error, STATUS.noSuchFile)) throw error;
      const folders = foldersOf(this.location.path, path);
      for (const folder of folders) await session.makeFolder(folder).catch(() => {}); // Most exist.
      return session.open(temporary, 'wx').catch((again: unknown) => {
        if (!hasStatus(again, STATUS.noSuchFile)) throw again;
        throw failures.folderMissing(posix.dirname(temporary), again);
      });
    }
  }

  private async upload(
    session: SftpSession,
    file: string,
    path: string,
    temporary: string,
    options: DeliverOptions,
  ): Promise<void> {
    const handle = await this.create(session, path, temporary);
    try {
      await writeBehind(announced(file, options), (offset, bytes) => session.write(handle, offset, bytes));
      await session.flush(handle);
    } catch (error) {
      await session.closeHandle(handle).catch(() => {});
      throw error;
    }
    await session.closeHandle(handle);
  }

  private async verify(
    session: SftpSession,
    path: string,
    temporary: string,
    expected: DeliverOptions,
  ): Promise<void> {
    const { size } = await session.stat(temporary);
    if (size !== expected.size)
      throw failures.verifyFailed(path, `${size} bytes instead of ${expected.size}`);
    if (await hashesThere((command, ms) => session.run(command, ms), temporary, expected)) return;
    const handle = await session.open(temporary, 'r');
    try {
      const read = (offset: number, length: number): Promise<Buffer> =>
        session.read(handle, offset, length, path);
      const actual = await sha256OfStream(readAhead(0, size, read));
      if (actual !== expected.sha256) throw failures.verifyFailed(path, 'its SHA-256 differs');
    } finally {
      await session.closeHandle(handle).catch(() => {});
    }
  }

  private async publish(
    session: SftpSession,
    path: string,
    temporary: string,
    target: string,
  ): Promise<void> {
    if (await session.replace(temporary, target)) return;
    try {
      await session.rename(temporary, target);
    } catch (error) {
      const taken = await session.stat(target).then(
        () => true,
        () => false,
      );
      throw taken ? failures.noReplace(path, error) : error;
    }
  }

  /** Removes an upload that failed: over the same connection, or a new one where it was cut. */
  private async discard(temporary: string): Promise<void> {
    this.leftovers.add(temporary);
    await this.kept.get().then(
      (session) => this.sweep(session),
      () => {}, // The next connection sweeps.
    );
  }

  private async sweep(session: SftpSession): Promise<void> {
    for (const leftover of this.leftovers) {
      try {
        await session.remove(leftover);
      } catch {
        if (!session.alive) return;
      }
      this.leftovers.delete(leftover);
    }
  }

  private async explain(thrown: unknown, path: string, session: SftpSession): Promise<SignpipeError> {
    if (thrown instanceof SignpipeError) return thrown;
    if (hasStatus(thrown, STATUS.permissionDenied)) return failures.permissionDenied(path, thrown);
    if (!hasStatus(thrown, STATUS.noSuchFile)) return failures.refused(path, messageOf(thrown), thrown);
    // An exchange that is not mounted must not look like a file that was never uploaded.
    const root = await session.stat(this.location.path).catch(() => null);
    return root?.isDirectory()
      ? failures.fileMissing(path, thrown)
      : failures.folderMissing(this.location.path, thrown);
  }
}
