import { posix } from 'node:path';
import { messageOf, SignpipeError } from '../../lib/errors.ts';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { connectSsh } from '../../lib/ssh/connection.ts';
import type { SshLocation } from '../../lib/ssh/url.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';
import { openExec, runRemotely, type RemoteResult } from '../../lib/ssh/exec.ts';
import { shellCommand, shellQuote } from '../../lib/ssh/quote.ts';
import type {
  DeliverOptions,
  Exchange,
  FetchResult,
  FetchOptions,
  OpenFile,
  Rehearsal,
  RehearseOptions,
  FileAttributes,
} from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { ReconnectingSession } from './reconnecting-session.ts';
import { GuardedConnection } from './guarded-connection.ts';
import { remotePath, parentFolders, temporaryName } from './path.ts';
import { requestPool } from './pipelined-io.ts';
import { remoteHashMatches } from './remote-hash.ts';
import { ScpWire, type ScpFileHeader } from './scp-wire.ts';
import { blocksToSend, receive, whyDifferent } from './local-file-transfer.ts';

/** How long a command may take, since it may flush disks; in milliseconds. */
const COMMAND_TIMEOUT_MS = 120_000;

/** A file on the exchange, reached over a connection. */
interface ScpFile {
  readonly connection: GuardedConnection;
  /** As the caller gave it, for messages. */
  readonly path: string;
  readonly remote: string;
}

/**
 * The exchange over the legacy SCP protocol, for hosts without SFTP: `scp -f` downloads, `scp -t` uploads, and shell
 * commands flush, hash and rename. One connection, with a channel for each command.
 */
export class ScpExchange implements Exchange {
  private readonly connections: ReconnectingSession<GuardedConnection>;
  private readonly leftovers = new Set<string>();
  private readonly root: string;

  constructor(
    location: SshLocation,
    ssh: SshOptions,
    private readonly stallTimeoutMs: number,
  ) {
    // A relative path must not look like an option to scp or mv.
    this.root = location.path.startsWith('/') ? location.path : `./${location.path}`;
    this.connections = new ReconnectingSession(async () => {
      const connection = new GuardedConnection(
        await connectSsh(location, ssh),
        location.host,
        stallTimeoutMs,
      );
      await this.removeLeftovers(connection);
      return connection;
    });
  }

  /** Connects, so that a wrong key or host is reported early. */
  async connect(): Promise<this> {
    await this.connections.get();
    return this;
  }

  close(): Promise<void> {
    return this.connections.close();
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async openRead(): Promise<OpenFile | null> {
    return null;
  }

  // eslint-disable-next-line require-await -- the interface is asynchronous
  async canAssemble(): Promise<boolean> {
    return false;
  }

  assemble(_from: string, path: string): Promise<void> {
    return Promise.reject(failures.noCopy(path));
  }

  list(): Promise<null> {
    return Promise.resolve(null);
  }

  removeFile(): Promise<boolean> {
    return Promise.resolve(false);
  }

  removeFolder(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async stat(path: string): Promise<FileAttributes | null> {
    const file = await this.fileAt(path);
    try {
      const { size, mtime } = await this.requestHeader(file);
      return { size, modified: new Date((mtime ?? 0) * 1000) };
    } catch (error) {
      return failures.nullIfMissing(await this.explain(error, file));
    }
  }

  async fetch(path: string, destination: string, { limit, onProgress }: FetchOptions): Promise<FetchResult> {
    const file = await this.fileAt(path);
    try {
      return await this.download(file, async (wire, header) => {
        if (header.size > limit) throw failures.tooLarge(path, header.size, limit);
        await wire.confirm();
        const confirm = (): Promise<void> => this.requireUnchanged(file, header, wire.status());
        const announced = { name: path, size: header.size, content: wire.bytes(header.size), confirm };
        return receive(announced, destination, onProgress);
      });
    } catch (error) {
      throw await this.explain(error, file);
    }
  }

  async deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void> {
    const { connection, remote: target } = await this.fileAt(path);
    const temporary = temporaryName(target, options.temporary);
    const file = { connection, path, remote: temporary };
    try {
      await this.makeFolders(connection, path);
      // Leftovers of a crash during an earlier delivery; usually none.
      if (options.temporary !== undefined) await this.run(connection, shellCommand(['rm', '-f', temporary]));
      await this.upload(file, content, options);
      await this.flush(connection, temporary);
      await this.verify(file, content, options);
      await this.publish(file, target);
    } catch (error) {
      const failure = await this.explain(error, file);
      await this.discard(temporary);
      throw failures.whileDelivering(path, failure);
    }
  }

  /** Checks permissions with the shell; nothing is written. */
  async rehearse(folder: string, { make }: RehearseOptions): Promise<Rehearsal | null> {
    const connection = await this.connections.get();
    if (make) await this.makeFolders(connection, `${folder}/x`);
    const remote = shellQuote(this.remotePath(folder));
    const { code } = await this.run(
      connection,
      `if test -d ${remote}; then test -w ${remote}; else exit 9; fi`,
    );
    if (code === 9) return null;
    if (code !== 0) throw failures.permissionDenied(folder);
    return {
      written: false,
      deletes: true,
      remarks: ['by its permissions; nothing was written'],
      left: null,
    };
  }

  private remotePath(path: string): string {
    const remote = remotePath(this.root, path);
    return remote.startsWith('/') ? remote : `./${remote}`;
  }

  private async fileAt(path: string): Promise<ScpFile> {
    const remote = this.remotePath(path);
    return { connection: await this.connections.get(), path, remote };
  }

  private run(
    connection: GuardedConnection,
    command: string,
    ms = Math.max(COMMAND_TIMEOUT_MS, this.stallTimeoutMs),
  ): Promise<RemoteResult> {
    return connection.guard(runRemotely(connection.client, command, ms), 'command', ms + 1000);
  }

  private wire({ connection, path }: ScpFile, command: string): Promise<ScpWire> {
    const opening = openExec(connection.client, command, (channel) => new ScpWire(channel, connection, path));
    return connection.guard(opening, 'scp');
  }

  /** Runs `scp -f`; the file's bytes follow once `use` confirms its header. */
  private async download<T>(
    file: ScpFile,
    use: (wire: ScpWire, header: ScpFileHeader) => Promise<T>,
  ): Promise<T> {
    const wire = await this.wire(file, shellCommand(['scp', '-p', '-f', file.remote]));
    try {
      await wire.confirm();
      return await use(wire, await wire.header(posix.basename(file.remote)));
    } finally {
      wire.close();
    }
  }

  /** The header of a download that is not confirmed: scp's only way to request a file's size. */
  private requestHeader(file: ScpFile): Promise<ScpFileHeader> {
    return this.download(file, (_, header) => Promise.resolve(header));
  }

  /** Requests the header again after the last byte; a changed file also explains a failed `verdict` on the transfer. */
  private async requireUnchanged(
    file: ScpFile,
    before: ScpFileHeader,
    verdict: Promise<void>,
  ): Promise<void> {
    const problem = await verdict.then(
      () => null,
      (error: unknown) => this.explain(error, file),
    );
    if (problem && !file.connection.alive) throw problem;
    const after = await this.requestHeader(file);
    if (after.size !== before.size || after.mtime !== before.mtime)
      throw failures.fileChanged(file.path, problem);
    if (problem) throw problem;
  }

  private async upload(file: ScpFile, content: ByteSource, options: DeliverOptions): Promise<void> {
    const wire = await this.wire(file, shellCommand(['scp', '-t', file.remote]));
    try {
      await wire.status();
      await wire.send(Buffer.from(`C0644 ${options.size} ${posix.basename(file.remote)}\n`));
      await wire.status();
      const pool = requestPool();
      for await (const block of blocksToSend(content, options, { pool })) {
        await wire.send(block);
        pool.release(block);
      }
      await wire.confirm();
      await wire.status();
    } finally {
      wire.close();
    }
  }

  private async makeFolders(connection: GuardedConnection, path: string): Promise<void> {
    const folder = parentFolders(this.root, path).at(-1) ?? this.root;
    const { code } = await this.run(
      connection,
      `test -d ${shellQuote(this.root)} && mkdir -p ${shellQuote(folder)}`,
    );
    if (code !== 0) throw failures.folderMissing(folder);
  }

  /** Flushes with `sync FILE`, or the whole system if coreutils cannot do that; a host without `sync` is not flushed. */
  private async flush(connection: GuardedConnection, temporary: string): Promise<void> {
    await this.run(connection, `sync ${shellQuote(temporary)} 2>/dev/null || sync`);
  }

  private async verify(file: ScpFile, content: ByteSource, expected: DeliverOptions): Promise<void> {
    const { connection, path, remote } = file;
    if (await remoteHashMatches((command, ms) => this.run(connection, command, ms), remote, expected)) return;
    await this.download(file, async (wire, { size }) => {
      if (size !== expected.size) throw failures.wrongSize(path, size, expected.size);
      await wire.confirm();
      const actual = await sha256OfStream(wire.bytes(size));
      await wire.status();
      if (actual !== expected.sha256) throw await whyDifferent(content, path, expected);
    });
  }

  /** Renames in one step. `mv` would move the file into a folder of the target's name, hence the test. */
  private async publish({ connection, path, remote }: ScpFile, target: string): Promise<void> {
    const command = `test ! -d ${shellQuote(target)} && ${shellCommand(['mv', '-f', remote, target])}`;
    const { code, stderr } = await this.run(connection, command);
    if (code !== 0) throw failures.refused(path, stderr.trim() || 'the upload cannot be renamed');
  }

  private async discard(temporary: string): Promise<void> {
    this.leftovers.add(temporary);
    await this.connections.get().then(
      (connection) => this.removeLeftovers(connection),
      () => {}, // Removed over the next connection.
    );
  }

  private async removeLeftovers(connection: GuardedConnection): Promise<void> {
    if (this.leftovers.size === 0) return;
    const paths = [...this.leftovers];
    const { code } = await this.run(connection, shellCommand(['rm', '-f', ...paths])).catch(() => ({
      code: null,
    }));
    if (code === 0) for (const leftover of paths) this.leftovers.delete(leftover);
  }

  private async explain(thrown: unknown, { connection, path }: ScpFile): Promise<SignpipeError> {
    if (!(thrown instanceof SignpipeError)) return failures.refused(path, messageOf(thrown), thrown);
    if (thrown.code !== 'exchange-file-missing') return thrown;
    // Distinguishes an exchange that is not mounted from a file that was never uploaded.
    const { code } = await this.run(connection, `test -d ${shellQuote(this.root)}`).catch(() => ({
      code: null,
    }));
    return code === 1 ? failures.folderMissing(this.root, thrown) : thrown;
  }
}
