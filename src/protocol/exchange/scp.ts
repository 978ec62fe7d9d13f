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
  Fetched,
  FetchOptions,
  OpenFile,
  Rehearsal,
  RehearseOptions,
  FileAttributes,
} from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { ReconnectingSession } from './reconnecting-session.ts';
import { GuardedConnection } from './guarded-connection.ts';
import { below, foldersOf, temporaryName } from './path.ts';
import { requestPool } from './pipelined-io.ts';
import { hashesThere } from './remote-hash.ts';
import { ScpWire, type Announced } from './scp-wire.ts';
import { blocksToSend, receive, whyDifferent } from './receive-send.ts';

/** A command's answer, or a file's next bytes, may be this late while disks are flushed; in milliseconds. */
const COMMAND_TIMEOUT_MS = 120_000;

/**
 * The exchange over the legacy SCP protocol, for hosts without SFTP: `scp -f` takes, `scp -t` puts, and
 * a shell does what scp cannot (flush, hash, rename). One connection, one channel for each command.
 */
export class ScpExchange implements Exchange {
  private readonly kept: ReconnectingSession<GuardedConnection>;
  private readonly leftovers = new Set<string>();
  private readonly root: string;

  constructor(
    location: SshLocation,
    ssh: SshOptions,
    private readonly stallTimeoutMs: number,
  ) {
    // A relative path must not look like an option to scp or mv.
    this.root = location.path.startsWith('/') ? location.path : `./${location.path}`;
    this.kept = new ReconnectingSession(async () => {
      const link = new GuardedConnection(await connectSsh(location, ssh), location.host, stallTimeoutMs);
      await this.sweep(link);
      return link;
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

  async stat(path: string): Promise<FileAttributes | null> {
    const place = this.place(path);
    const link = await this.kept.get();
    try {
      const { size, mtime } = await this.look(link, path, place);
      return { size, modified: new Date((mtime ?? 0) * 1000) };
    } catch (error) {
      const failure = await this.explain(error, path, link);
      if (failure.code === 'exchange-file-missing') return null;
      throw failure;
    }
  }

  async fetch(path: string, destination: string, { limit, onProgress }: FetchOptions): Promise<Fetched> {
    const place = this.place(path);
    const link = await this.kept.get();
    try {
      return await this.source(link, path, place, async (wire, found) => {
        if (found.size > limit) throw failures.tooLarge(path, found.size, limit);
        await wire.go();
        const confirm = (): Promise<void> => this.requireUnchanged(link, path, place, found, wire.status());
        const incoming = { name: path, size: found.size, content: wire.bytes(found.size), confirm };
        return receive(incoming, destination, onProgress);
      });
    } catch (error) {
      throw await this.explain(error, path, link);
    }
  }

  async deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void> {
    const target = this.place(path);
    const temporary = temporaryName(target, options.temporary);
    const link = await this.kept.get();
    try {
      await this.makeFolders(link, path);
      // What a crash during an earlier delivery left behind; nothing, as a rule.
      if (options.temporary !== undefined) await this.run(link, shellCommand(['rm', '-f', temporary]));
      await this.sink(link, path, temporary, content, options);
      await this.flush(link, temporary);
      await this.verify(link, { path, temporary }, content, options);
      await this.publish(link, path, temporary, target);
    } catch (error) {
      const failure = await this.explain(error, path, link);
      await this.discard(temporary);
      throw failures.whileDelivering(path, failure);
    }
  }

  /** There is a shell: it is asked, and nothing is written. */
  async rehearse(folder: string, { make }: RehearseOptions): Promise<Rehearsal | null> {
    const link = await this.kept.get();
    if (make) await this.makeFolders(link, `${folder}/x`);
    const place = shellQuote(this.place(folder));
    const { code } = await this.run(link, `if test -d ${place}; then test -w ${place}; else exit 9; fi`);
    if (code === 9) return null;
    if (code !== 0) throw failures.permissionDenied(folder);
    return {
      written: false,
      deletes: true,
      remarks: ['by its permissions; nothing was written'],
      left: null,
    };
  }

  private place(path: string): string {
    const place = below(this.root, path);
    return place.startsWith('/') ? place : `./${place}`;
  }

  private run(
    link: GuardedConnection,
    command: string,
    ms = Math.max(COMMAND_TIMEOUT_MS, this.stallTimeoutMs),
  ): Promise<RemoteResult> {
    return link.guard(runRemotely(link.client, command, ms), 'command', ms + 1000);
  }

  private wire(link: GuardedConnection, path: string, command: string): Promise<ScpWire> {
    const opening = openExec(link.client, command, (channel) => new ScpWire(channel, link, path));
    return link.guard(opening, 'scp');
  }

  /** Runs `scp -f` and hands over the announced file; its bytes come once `use` says go. */
  private async source<T>(
    link: GuardedConnection,
    path: string,
    place: string,
    use: (wire: ScpWire, found: Announced) => Promise<T>,
  ): Promise<T> {
    const command = shellCommand(['scp', '-p', '-f', place]);
    const wire = await this.wire(link, path, command);
    try {
      await wire.go();
      return await use(wire, await wire.announcement(posix.basename(place)));
    } finally {
      wire.close();
    }
  }

  /** What a transfer would announce: scp's only way to ask for a size. */
  private look(link: GuardedConnection, path: string, place: string): Promise<Announced> {
    return this.source(link, path, place, (_, found) => Promise.resolve(found));
  }

  /** Asks again once all bytes came; a file that changed also explains a `verdict` that they were not all read. */
  private async requireUnchanged(
    link: GuardedConnection,
    path: string,
    place: string,
    before: Announced,
    verdict: Promise<void>,
  ): Promise<void> {
    const problem = await verdict.then(
      () => null,
      (error: unknown) => this.explain(error, path, link),
    );
    if (problem && !link.alive) throw problem;
    const after = await this.look(link, path, place);
    if (after.size !== before.size || after.mtime !== before.mtime) throw failures.fileChanged(path, problem);
    if (problem) throw problem;
  }

  private async sink(
    link: GuardedConnection,
    path: string,
    temporary: string,
    content: ByteSource,
    options: DeliverOptions,
  ): Promise<void> {
    const command = shellCommand(['scp', '-t', temporary]);
    const wire = await this.wire(link, path, command);
    try {
      await wire.status();
      await wire.send(Buffer.from(`C0644 ${options.size} ${posix.basename(temporary)}\n`));
      await wire.status();
      const pool = requestPool();
      for await (const block of blocksToSend(content, options, { pool })) {
        await wire.send(block);
        pool.release(block);
      }
      await wire.go();
      await wire.status();
    } finally {
      wire.close();
    }
  }

  private async makeFolders(link: GuardedConnection, path: string): Promise<void> {
    const folder = foldersOf(this.root, path).at(-1) ?? this.root;
    const { code } = await this.run(
      link,
      `test -d ${shellQuote(this.root)} && mkdir -p ${shellQuote(folder)}`,
    );
    if (code !== 0) throw failures.folderMissing(folder);
  }

  /** `sync FILE` where coreutils can, the whole system where not; a host without either is left to its own pace. */
  private async flush(link: GuardedConnection, temporary: string): Promise<void> {
    await this.run(link, `sync ${shellQuote(temporary)} 2>/dev/null || sync`);
  }

  private async verify(
    link: GuardedConnection,
    { path, temporary }: { readonly path: string; readonly temporary: string },
    content: ByteSource,
    expected: DeliverOptions,
  ): Promise<void> {
    if (await hashesThere((command, ms) => this.run(link, command, ms), temporary, expected)) return;
    await this.source(link, path, temporary, async (wire, { size }) => {
      if (size !== expected.size)
        throw failures.verifyFailed(path, `${size} bytes instead of ${expected.size}`);
      await wire.go();
      const actual = await sha256OfStream(wire.bytes(size));
      await wire.status();
      if (actual !== expected.sha256) throw await whyDifferent(content, path, expected);
    });
  }

  /** `mv` would move into a folder of the target's name, hence the test; the rename itself is one step. */
  private async publish(
    link: GuardedConnection,
    path: string,
    temporary: string,
    target: string,
  ): Promise<void> {
    const command = `test ! -d ${shellQuote(target)} && ${shellCommand(['mv', '-f', temporary, target])}`;
    const { code, stderr } = await this.run(link, command);
    if (code !== 0) throw failures.refused(path, stderr.trim() || 'the upload could not be renamed');
  }

  private async discard(temporary: string): Promise<void> {
    this.leftovers.add(temporary);
    await this.kept.get().then(
      (link) => this.sweep(link),
      () => {}, // The next connection sweeps.
    );
  }

  private async sweep(link: GuardedConnection): Promise<void> {
    if (this.leftovers.size === 0) return;
    const gone = [...this.leftovers];
    const { code } = await this.run(link, shellCommand(['rm', '-f', ...gone])).catch(() => ({ code: null }));
    if (code === 0) for (const leftover of gone) this.leftovers.delete(leftover);
  }

  private async explain(thrown: unknown, path: string, link: GuardedConnection): Promise<SignpipeError> {
    if (!(thrown instanceof SignpipeError)) return failures.refused(path, messageOf(thrown), thrown);
    if (thrown.code !== 'exchange-file-missing') return thrown;
    // An exchange that is not mounted must not look like a file that was never uploaded.
    const { code } = await this.run(link, `test -d ${shellQuote(this.root)}`).catch(() => ({ code: null }));
    return code === 1 ? failures.folderMissing(this.root, thrown) : thrown;
  }
}
