import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/all-settled.ts';
import type { SshLocation } from '../../lib/ssh/url.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import type {
  AssembleOptions,
  DeliverOptions,
  Exchange,
  ExchangeOptions,
  FetchResult,
  FetchOptions,
  OpenFile,
  Rehearsal,
  RehearseOptions,
  ExpectedFile,
  FileAttributes,
  ListedEntry,
  OnProgress,
} from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { ReconnectingSession } from './reconnecting-session.ts';
import { remotePath } from './path.ts';
import { listOverSftp, removeOverSftp } from './removal.ts';
import { RemoteByteSource } from './remote-source.ts';
import { SftpAssembly } from './sftp-assembly.ts';
import { hasStatus, STATUS, type SftpEntry } from './sftp-channel.ts';
import { rehearseSftp } from './sftp-rehearsal.ts';
import { SftpSession } from './sftp-session.ts';
import { SftpUpload } from './sftp-upload.ts';
import { receiveResumable } from './local-file-transfer.ts';

/** A regular file that is open on the exchange. */
interface OpenHandle {
  readonly session: SftpSession;
  readonly handle: Buffer;
  readonly path: string;
  readonly stats: SftpEntry;
}

/** An upload that was cut and may be resumed. */
interface CutUpload {
  readonly upload: SftpUpload;
  /** By this machine's clock, in milliseconds. */
  readonly since: number;
}

/** A cut upload that is not resumed within this time is removed; in milliseconds. */
const RESUME_WITHIN = 15 * 60_000;

const isSame = (a: SftpEntry, b: SftpEntry): boolean => a.size === b.size && a.mtime === b.mtime;

const attributesOf = ({ size, mtime }: SftpEntry): FileAttributes => ({
  size,
  modified: new Date(mtime * 1000),
});

function requireRegular({ kind, size }: SftpEntry, name: string): void {
  if (kind !== 'file') throw failures.notAFile(name);
  if (!Number.isSafeInteger(size) || size < 0) throw failures.refused(name, 'an impossible size');
}

/** Settings for slow servers and cut connections; see `ExchangeOptions`. */
type SftpOptions = Required<Pick<ExchangeOptions, 'stallTimeoutMs' | 'resumeAfter'>>;

/** The exchange over SFTP (draft-ietf-secsh-filexfer-02, with OpenSSH's PROTOCOL extensions). */
export class SftpExchange implements Exchange {
  private readonly sessions: ReconnectingSession<SftpSession>;
  /** Temporary files that could not be removed because the connection was gone. */
  private readonly leftovers = new Set<string>();
  /** Cut uploads that are worth resuming, by target and content. */
  private readonly cutUploads = new Map<string, CutUpload>();

  constructor(
    private readonly location: SshLocation,
    ssh: SshOptions,
    private readonly options: SftpOptions,
  ) {
    this.sessions = new ReconnectingSession(async () => {
      const session = await SftpSession.open(location, ssh, options.stallTimeoutMs);
      await this.removeLeftovers(session);
      return session;
    });
  }

  /** Connects, so that a wrong key or host is reported early. */
  async connect(): Promise<this> {
    await this.sessions.get();
    return this;
  }

  async close(): Promise<void> {
    const abandoned = this.abandon(0);
    if (abandoned)
      await this.sessions.get().then(
        (session) => this.removeLeftovers(session),
        () => {},
      );
    await this.sessions.close();
  }

  async stat(path: string): Promise<FileAttributes | null> {
    const remote = remotePath(this.location.path, path);
    const session = await this.sessions.get();
    try {
      const stats = await session.stat(remote);
      requireRegular(stats, path);
      return attributesOf(stats);
    } catch (error) {
      return failures.nullIfMissing(await this.explain(error, path, session));
    }
  }

  async fetch(path: string, destination: string, options: FetchOptions): Promise<FetchResult> {
    for (;;) {
      let [start, done] = [0, 0];
      const onProgress = (now: number, total: number): void => {
        done = now;
        options.onProgress?.(now, total);
      };
      const onStart = (at: number): void => void (start = done = at);
      try {
        return await this.fetchOnce(path, destination, { ...options, onProgress }, onStart);
      } catch (error) {
        if (!this.resumesAtOnce(error, done - start)) throw error;
      }
    }
  }

  /** Whether a failed transfer is resumed at once: the connection was cut, and enough bytes had arrived. */
  private resumesAtOnce(error: unknown, gained: number): boolean {
    const cut = error instanceof SignpipeError && error.code === 'connection-lost';
    return cut && gained > 0 && gained >= this.options.resumeAfter;
  }

  private fetchOnce(
    path: string,
    destination: string,
    { limit, onProgress, flushed }: FetchOptions,
    onStart: (at: number) => void,
  ): Promise<FetchResult> {
    return this.withOpen(path, ({ session, handle, path: remote, stats }) => {
      const { size, mtime } = stats;
      if (size > limit) throw failures.tooLarge(path, size, limit);
      const { host, port, path: root } = this.location;
      const download = {
        name: path,
        size,
        identity: sha256Hex(JSON.stringify([host, port, root, path, size, mtime])).slice(0, 16),
        contentFrom: (at: number) => session.blocks(handle, at, size, path),
        confirm: async (): Promise<void> => {
          if (!isSame(stats, await session.fstat(handle, remote))) throw failures.fileChanged(path);
        },
      };
      const { resumeAfter } = this.options;
      return receiveResumable(download, destination, { resumeAfter, onProgress, onStart, flushed });
    });
  }

  async openRead(path: string): Promise<OpenFile> {
    const { session, handle, stats } = await this.openRegular(path);
    const read = async (offset: number, length: number): Promise<Buffer> => {
      try {
        return await session.read(handle, offset, length, path);
      } catch (error) {
        throw await this.explain(error, path, session);
      }
    };
    return new RemoteByteSource(path, attributesOf(stats), read, () =>
      session.closeHandle(handle).catch(() => {}),
    );
  }

  async deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void> {
    const key = JSON.stringify([path, options.size, options.sha256]);
    const upload =
      this.cutUploads.get(key)?.upload ?? new SftpUpload(this.location.path, path, options.temporary);
    const session = await this.sessions.get();
    this.cutUploads.delete(key);
    this.abandon(RESUME_WITHIN);
    const before = upload.written;
    try {
      // Leftovers of a crash during an earlier delivery; usually none.
      if (options.temporary !== undefined && before === 0) await upload.clear(session);
      await upload.send(session, content, options);
    } catch (error) {
      const failure = await this.explain(error, path, session);
      const resumable = !session.alive && failure.retryable && upload.written >= this.options.resumeAfter;
      if (resumable) this.cutUploads.set(key, { upload, since: Date.now() });
      else await this.discard(upload.temporary);
      if (!resumable || !this.resumesAtOnce(failure, upload.written - before))
        throw failures.whileDelivering(path, failure);
      await this.deliver(content, path, options);
    }
  }

  async canAssemble(): Promise<boolean> {
    return (await this.sessions.get()).canCopy;
  }

  async assemble(from: string, path: string, options: AssembleOptions): Promise<void> {
    const source = remotePath(this.location.path, from);
    const upload = new SftpUpload(this.location.path, path, options.temporary);
    const session = await this.sessions.get();
    if (!session.canCopy) throw failures.noCopy(path);
    try {
      await session.withSecondChannel(async (copier) => {
        const assembly = new SftpAssembly(session, source, upload, options);
        const [unchanged] = await settleAll([
          assembly.isUnchanged(),
          // Leftovers of a crash during an earlier delivery; usually none.
          options.temporary === undefined ? undefined : upload.clear(session),
        ]);
        if (unchanged) await assembly.run(copier);
        else if (!(await assembly.isDone())) throw failures.fileChanged(from);
      });
    } catch (error) {
      const failure = await this.explain(error, path, session);
      await this.discard(upload.temporary);
      throw failure;
    }
  }

  async rehearse(folder: string, options: RehearseOptions): Promise<Rehearsal | null> {
    const session = await this.sessions.get();
    try {
      return await rehearseSftp(session, this.location.path, folder, options);
    } catch (error) {
      throw failures.whileDelivering(folder, await this.explain(error, folder, session));
    }
  }

  async list(folder: string, limit: number): Promise<readonly ListedEntry[]> {
    return this.atPath(folder, (session, path) => listOverSftp(session, path, limit));
  }

  removeFile(path: string, expected: ExpectedFile, onProgress?: OnProgress): Promise<boolean> {
    return this.atPath(path, (session, remote) => removeOverSftp(session, remote, expected, onProgress));
  }

  removeFolder(path: string): Promise<boolean> {
    return this.atPath(path, (session, remote) => session.removeFolder(remote));
  }

  /** Does some work at a path of the exchange, and explains its errors. */
  private async atPath<T>(
    path: string,
    work: (session: SftpSession, remote: string) => Promise<T>,
  ): Promise<T> {
    const remote = remotePath(this.location.path, path);
    const session = await this.sessions.get();
    try {
      return await work(session, remote);
    } catch (error) {
      throw await this.explain(error, path, session);
    }
  }

  /** Opens a regular file. Its kind is checked before, since opening a pipe would block the server. */
  private async openRegular(path: string): Promise<OpenHandle> {
    const remote = remotePath(this.location.path, path);
    const session = await this.sessions.get();
    try {
      requireRegular(await session.stat(remote), path);
      const handle = await session.open(remote, 'r');
      const stats = await session.fstat(handle, remote);
      requireRegular(stats, path);
      return { session, handle, path: remote, stats };
    } catch (error) {
      throw await this.explain(error, path, session);
    }
  }

  private async withOpen<T>(path: string, use: (file: OpenHandle) => Promise<T>): Promise<T> {
    const file = await this.openRegular(path);
    try {
      return await use(file);
    } catch (error) {
      throw await this.explain(error, path, file.session);
    } finally {
      if (file.session.alive) await file.session.closeHandle(file.handle).catch(() => {});
    }
  }

  /** Gives up cut uploads that have waited for `milliseconds`; returns whether there were any. */
  private abandon(milliseconds: number): boolean {
    const late = [...this.cutUploads].filter(([, { since }]) => Date.now() - since >= milliseconds);
    for (const [key, { upload }] of late) {
      this.cutUploads.delete(key);
      this.leftovers.add(upload.temporary);
    }
    return late.length > 0;
  }

  /** Removes a failed upload, over a new connection if the current one was cut. */
  private async discard(temporary: string): Promise<void> {
    this.leftovers.add(temporary);
    await this.sessions.get().then(
      (session) => this.removeLeftovers(session),
      () => {}, // Removed over the next connection.
    );
  }

  private async removeLeftovers(session: SftpSession): Promise<void> {
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
    // Distinguishes an exchange that is not mounted from a file that was never uploaded.
    const root = await session.stat(this.location.path).catch(() => null);
    return root?.kind === 'folder'
      ? failures.fileMissing(path, thrown)
      : failures.folderMissing(this.location.path, thrown);
  }
}
