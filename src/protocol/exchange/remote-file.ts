import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { Exchange, OpenFile } from './exchange.ts';
import { fileChanged, fileMissing } from './exchange-errors.ts';
import { Prefetch } from './prefetch.ts';
import { roomInMemory } from './range-cache.ts';

/** Tries an action again while what it needs is down. */
export type Retry = <T>(action: () => Promise<T>) => Promise<T>;

export interface RemoteFileOptions {
  /** What is fetched and too much for memory goes into local files whose names begin so. */
  readonly cache: string;
  readonly retry: Retry;
  /** For messages. */
  readonly name: string;
}

/**
 * A file that stays on the exchange. Runs of it that will be needed are fetched ahead, once and together;
 * whatever else is read comes over the line. It outlives connections: one that was cut is made anew, and
 * goes on, as long as the file is the same by size and time; else `exchange-file-changed`.
 */
export class RemoteFile implements ByteSource {
  /** Null after a failure, until it is opened again. */
  private remote: Promise<OpenFile> | null;
  private readonly ahead: Prefetch[] = [];
  private readonly room = roomInMemory();
  /** Settles when all that is fetched ahead has come, or will not. */
  private fetching: Promise<void> = Promise.resolve();
  private closed = false;
  readonly size: number;
  readonly modified: Date;
  readonly name: string;

  private constructor(
    private readonly exchange: Exchange,
    private readonly path: string,
    first: OpenFile,
    private readonly options: RemoteFileOptions,
  ) {
    this.remote = Promise.resolve(first);
    this.size = first.size;
    this.modified = first.modified;
    this.name = options.name;
  }

  /** Opens a file by its path on the exchange; null where the protocol has no random access. */
  static async open(
    exchange: Exchange,
    path: string,
    options: RemoteFileOptions,
  ): Promise<RemoteFile | null> {
    const first = await options.retry(() => exchange.openRead(path));
    return first && new RemoteFile(exchange, path, first, options);
  }

  /** How many bytes of it were fetched ahead. */
  get bytesFetched(): number {
    return this.ahead.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Begins to fetch runs, which must be in rising order and apart; those of an earlier call come first. Who reads
   * of them waits for what is still on its way, and hears of a failure.
   */
  prefetch(runs: readonly ByteRange[]): void {
    const ahead = new Prefetch(runs, `${this.options.cache}.${this.ahead.length}`, this.room);
    this.ahead.push(ahead);
    this.fetching = this.fetching.then(() => this.fetch(ahead)).catch((error: unknown) => ahead.fail(error));
  }

  private fetch(ahead: Prefetch): Promise<void> {
    return this.again(async (remote) => {
      for await (const { offset, bytes } of remote.readRuns(ahead.missing)) {
        if (this.closed) return;
        await ahead.take(offset, bytes);
      }
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const ahead = this.coverOf(offset, length);
    return (await ahead?.read(offset, length)) ?? this.again((remote) => remote.read(offset, length));
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    const ahead = this.coverOf(offset, target.length);
    if (await ahead?.readInto(target, offset)) return;
    (await this.again((remote) => remote.read(offset, target.length))).copy(target);
  }

  private coverOf(offset: number, length: number): Prefetch | undefined {
    return this.ahead.find((each) => each.covers(offset, offset + length));
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.remote?.then((remote) => remote.close()).catch(() => {});
    for (const ahead of this.ahead) await ahead.close();
  }

  private again<T>(use: (remote: OpenFile) => Promise<T>): Promise<T> {
    return this.options.retry(async () => {
      const opening = (this.remote ??= this.reopen());
      try {
        return await use(await opening);
      } catch (error) {
        // Another request may have opened it anew by now.
        if (this.remote === opening) this.remote = null;
        await opening.then((remote) => remote.close()).catch(() => {});
        throw error;
      }
    });
  }

  private async reopen(): Promise<OpenFile> {
    const remote = this.closed ? null : await this.exchange.openRead(this.path);
    if (!remote) throw fileMissing(this.name);
    if (remote.size === this.size && remote.modified.getTime() === this.modified.getTime()) return remote;
    await remote.close();
    throw fileChanged(this.name);
  }
}
