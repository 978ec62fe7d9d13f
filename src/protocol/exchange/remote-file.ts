import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { Exchange, OpenFile } from './exchange.ts';
import { fileChanged, fileMissing } from './exchange-errors.ts';
import { memoryBudget, RangeCache } from './range-cache.ts';

interface RemoteFileOptions {
  /** Prefix of the local files that hold prefetched bytes beyond the memory limit. */
  readonly cache: string;
  /** Retries an action while the connection is down. */
  readonly retry: <T>(action: () => Promise<T>) => Promise<T>;
  /** For messages. */
  readonly name: string;
}

/**
 * A file that stays on the exchange. Ranges that will be needed are prefetched once; all other reads go over the
 * connection. It outlives connections: after a cut it is opened again, if its size and time are the same; otherwise
 * reads throw `exchange-file-changed`.
 */
export class RemoteFile implements ByteSource {
  /** Null after a failure, until it is opened again. */
  private remote: Promise<OpenFile> | null;
  private readonly caches: RangeCache[] = [];
  private readonly budget = memoryBudget();
  /** Settles when all prefetching has ended or failed. */
  private prefetching: Promise<void> = Promise.resolve();
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

  /** Opens a file by its path on the exchange; null if the protocol has no random access. */
  static async open(
    exchange: Exchange,
    path: string,
    options: RemoteFileOptions,
  ): Promise<RemoteFile | null> {
    const first = await options.retry(() => exchange.openRead(path));
    return first && new RemoteFile(exchange, path, first, options);
  }

  /** The number of bytes prefetched. */
  get bytesFetched(): number {
    return this.caches.reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * Starts to fetch ranges, which must ascend and not overlap, after those of earlier calls. Reads in them wait for
   * bytes that have not arrived yet, and fail if fetching fails.
   */
  prefetch(ranges: readonly ByteRange[]): void {
    const cache = new RangeCache(ranges, `${this.options.cache}.${this.caches.length}`, this.budget);
    this.caches.push(cache);
    this.prefetching = this.prefetching
      .then(() => this.fetch(cache))
      .catch((error: unknown) => cache.fail(error));
  }

  private fetch(cache: RangeCache): Promise<void> {
    return this.withRetry(async (remote) => {
      for await (const { offset, bytes } of remote.readRanges(cache.missing)) {
        if (this.closed) return;
        await cache.append(offset, bytes);
      }
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    for (const cache of this.caches) {
      const bytes = await cache.read(offset, length);
      if (bytes) return bytes;
    }
    return this.withRetry((remote) => remote.read(offset, length));
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    for (const cache of this.caches) if (await cache.readInto(target, offset)) return;
    (await this.withRetry((remote) => remote.read(offset, target.length))).copy(target);
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.remote?.then((remote) => remote.close()).catch(() => {});
    for (const cache of this.caches) await cache.close();
  }

  private withRetry<T>(use: (remote: OpenFile) => Promise<T>): Promise<T> {
    return this.options.retry(async () => {
      const opening = (this.remote ??= this.reopen());
      try {
        return await use(await opening);
      } catch (error) {
        // Unless another request has opened it again in the meantime.
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
