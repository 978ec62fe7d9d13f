import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { sha256Hex } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import type { SshLocation } from '../../lib/ssh/url.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import type {
  AssembleOptions,
  DeliverOptions,
  Exchange,
  Fetched,
  FetchOptions,
  OpenFile,
  Rehearsal,
  RehearseOptions,
  FileAttributes,
} from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { ReconnectingSession } from './reconnecting-session.ts';
import { below } from './path.ts';
import { RemoteSource } from './remote-source.ts';
import { SftpAssembly } from './sftp-assembly.ts';
import type { SftpEntry } from './sftp-entry.ts';
import { hasStatus, STATUS } from './sftp-channel.ts';
import { rehearseSftp } from './sftp-rehearsal.ts';
import { SftpSession } from './sftp-session.ts';
import { Upload } from './sftp-upload.ts';
import { receiveOn } from './receive-send.ts';

/** A regular file that is open on the exchange. */
interface Held {
  readonly session: SftpSession;
  readonly handle: Buffer;
  readonly place: string;
  readonly stats: SftpEntry;
}

/** An upload that was cut, and may be taken up again. */
interface Unfinished {
  readonly upload: Upload;
  /** By this machine's clock, in milliseconds. */
  readonly since: number;
}

/** An upload that nobody took up for so long is removed. In milliseconds. */
const ABANDONED = 15 * 60_000;

const isSame = (a: SftpEntry, b: SftpEntry): boolean => a.size === b.size && a.mtime === b.mtime;

const remoteFile = ({ size, mtime }: SftpEntry): FileAttributes => ({
  size,
  modified: new Date(mtime * 1000),
});

function requireRegular({ kind, size }: SftpEntry, name: string): void {
  if (kind !== 'file') throw failures.notAFile(name);
  if (!Number.isSafeInteger(size) || size < 0) throw failures.refused(name, 'no possible size');
}

/** How SFTP exchanges treat a server that is slow, or a connection that was cut. */
export interface SftpTerms {
  readonly stallTimeoutMs: number;
  readonly resumeAfter: number;
}

/** The exchange over SFTP (draft-ietf-secsh-filexfer-02, with OpenSSH's PROTOCOL extensions). */
export class SftpExchange implements Exchange {
  private readonly kept: ReconnectingSession<SftpSession>;
  /** Temporary files that could not be removed because the connection was gone. */
  private readonly leftovers = new Set<string>();
  /** Uploads that were cut after much had arrived, by target and content. */
  private readonly unfinished = new Map<string, Unfinished>();

  constructor(
    private readonly location: SshLocation,
    ssh: SshOptions,
    private readonly terms: SftpTerms,
  ) {
    this.kept = new ReconnectingSession(async () => {
      const session = await SftpSession.open(location, ssh, terms.stallTimeoutMs);
      await this.sweep(session);
      return session;
    });
  }

  /** Connects, so that a wrong key or host shows at once. */
  async connect(): Promise<this> {
    await this.kept.get();
    return this;
  }

  async close(): Promise<void> {
    const abandoned = this.abandon(0);
    if (abandoned)
      await this.kept.get().then(
        (session) => this.sweep(session),
        () => {},
      );
    await this.kept.close();
  }

  async stat(path: string): Promise<FileAttributes | null> {
    const place = below(this.location.path, path);
    const session = await this.kept.get();
    try {
      const stats = await session.stat(place);
      requireRegular(stats, path);
      return remoteFile(stats);
    } catch (error) {
      const failure = await this.explain(error, path, session);
      if (failure.code === 'exchange-file-missing') return null;
      throw failure;
    }
  }

  async fetch(path: string, destination: string, options: FetchOptions): Promise<Fetched> {
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
        if (!this.goesOn(error, done - start)) throw error;
      }
    }
  }

  /** Whether a transfer that failed is begun again at once: it was cut, and had come a good way further. */
  private goesOn(error: unknown, gained: number): boolean {
    const cut = error instanceof SignpipeError && error.code === 'connection-lost';
    return cut && gained > 0 && gained >= this.terms.resumeAfter;
  }

  private fetchOnce(
    path: string,
    destination: string,
    { limit, onProgress, flushed }: FetchOptions,
    onStart: (at: number) => void,
  ): Promise<Fetched> {
    return this.holding(path, ({ session, handle, place, stats }) => {
      const { size, mtime } = stats;
      if (size > limit) throw failures.tooLarge(path, size, limit);
      const { host, port, path: root } = this.location;
      const incoming = {
        name: path,
        size,
        identity: sha256Hex(JSON.stringify([host, port, root, path, size, mtime])).slice(0, 16),
        contentFrom: (at: number) => session.blocks(handle, at, size, path),
        confirm: async (): Promise<void> => {
          if (!isSame(stats, await session.fstat(handle, place))) throw failures.fileChanged(path);
        },
      };
      const { resumeAfter } = this.terms;
      return receiveOn(incoming, destination, { resumeAfter, onProgress, onStart, flushed });
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
    return new RemoteSource(path, remoteFile(stats), read, () => session.closeHandle(handle).catch(() => {}));
  }

  async deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void> {
    const key = JSON.stringify([path, options.size, options.sha256]);
    const upload =
      this.unfinished.get(key)?.upload ?? new Upload(this.location.path, path, options.temporary);
    const session = await this.kept.get();
    this.unfinished.delete(key);
    this.abandon(ABANDONED);
    const before = upload.written;
    try {
      // What a crash during an earlier delivery left behind; nothing, as a rule.
      if (options.temporary !== undefined && before === 0) await upload.clear(session);
      await upload.send(session, content, options);
    } catch (error) {
      const failure = await this.explain(error, path, session);
      const resumable = !session.alive && failure.retryable && upload.written >= this.terms.resumeAfter;
      if (resumable) this.unfinished.set(key, { upload, since: Date.now() });
      else await this.discard(upload.temporary);
      if (!resumable || !this.goesOn(failure, upload.written - before))
        throw failures.whileDelivering(path, failure);
      await this.deliver(content, path, options);
    }
  }

  async canAssemble(): Promise<boolean> {
    return (await this.kept.get()).canCopy;
  }

  async assemble(from: string, path: string, options: AssembleOptions): Promise<void> {
    const source = below(this.location.path, from);
    const upload = new Upload(this.location.path, path, options.temporary);
    const session = await this.kept.get();
    if (!session.canCopy) throw failures.noCopy(path);
    try {
      await session.beside(async (copier) => {
        const assembly = new SftpAssembly(session, source, upload, options);
        const [unchanged] = await settleAll([
          assembly.isUnchanged(),
          // What a crash during an earlier delivery left behind; nothing, as a rule.
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
    const session = await this.kept.get();
    try {
      return await rehearseSftp(session, this.location.path, folder, options);
    } catch (error) {
      throw failures.whileDelivering(folder, await this.explain(error, folder, session));
    }
  }

  /** Opens a regular file. It is looked at before: opening a pipe would hang the server's end. */
  private async hold(path: string): Promise<Held> {
    const place = below(this.location.path, path);
    const session = await this.kept.get();
    try {
      requireRegular(await session.stat(place), path);
      const handle = await session.open(place, 'r');
      const stats = await session.fstat(handle, place);
      requireRegular(stats, path);
      return { session, handle, place, stats };
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

  /** Gives up uploads that have waited for so long; whether there were any. */
  private abandon(milliseconds: number): boolean {
    const late = [...this.unfinished].filter(([, { since }]) => Date.now() - since >= milliseconds);
    for (const [key, { upload }] of late) {
      this.unfinished.delete(key);
      this.leftovers.add(upload.temporary);
    }
    return late.length > 0;
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
    return root?.kind === 'folder'
      ? failures.fileMissing(path, thrown)
      : failures.folderMissing(this.location.path, thrown);
  }
}
