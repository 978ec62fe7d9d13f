import { open, type FileHandle } from 'node:fs/promises';
import type { ByteSource } from '../io/source.ts';
import type { Exchange, OpenFile, Progress, Run } from './contract.ts';
import { fileChanged, fileMissing } from './failures.ts';

/** Tries an action again while what it needs is down. */
export type Retry = <T>(action: () => Promise<T>) => Promise<T>;

export interface FarFileOptions {
  /** A local file that does not exist yet: what was fetched lies in it, at its own offsets. */
  readonly cache: string;
  readonly retry: Retry;
  /** For messages. */
  readonly name: string;
}

/**
 * A file that stays on the exchange. Runs of it that will be needed are fetched once, together, into a
 * local file; whatever else is read comes over the line. It outlives connections: one that was cut is
 * made anew, and goes on, as long as the file is the same by size and time; else `exchange-file-changed`.
 */
export class FarFile implements ByteSource {
  private readonly held: Run[] = [];
  /** Null after a failure, until it is opened again. */
  private remote: OpenFile | null;
  readonly size: number;
  readonly modified: Date;

  private constructor(
    private readonly exchange: Exchange,
    private readonly path: string,
    readonly name: string,
    first: OpenFile,
    private readonly cache: FileHandle,
    private readonly retry: Retry,
  ) {
    this.remote = first;
    this.size = first.size;
    this.modified = first.modified;
  }

  /** Opens a file by its path on the exchange; null where the protocol has no random access. */
  static async open(exchange: Exchange, path: string, options: FarFileOptions): Promise<FarFile | null> {
    const first = await options.retry(() => exchange.openRead(path));
    if (!first) return null;
    const cache = await open(options.cache, 'wx+', 0o600);
    return new FarFile(exchange, path, options.name, first, cache, options.retry);
  }

  /** How many bytes of it were fetched ahead. */
  get fetched(): number {
    return this.held.reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** Fetches runs, which must be in rising order and apart. */
  async fetch(runs: readonly Run[], onProgress?: Progress): Promise<void> {
    const total = runs.reduce((sum, { start, end }) => sum + end - start, 0);
    await this.again(async (remote) => {
      const reached = this.held.at(-1)?.end ?? 0;
      const missing = runs
        .filter(({ end }) => end > reached)
        .map(({ start, end }) => ({ start: Math.max(start, reached), end }));
      for await (const { offset, bytes } of remote.readRuns(missing)) {
        for (let done = 0; done < bytes.length;)
          done += (await this.cache.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
        this.hold({ start: offset, end: offset + bytes.length });
        onProgress?.(this.fetched, total);
      }
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    if (!this.holds(offset, offset + length)) return this.again((remote) => remote.read(offset, length));
    const buffer = Buffer.allocUnsafe(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await this.cache.read(buffer, done, length - done, offset + done);
      if (bytesRead === 0) throw new RangeError(`${this.name}: a fetched run is not there`);
      done += bytesRead;
    }
    return buffer;
  }

  async close(): Promise<void> {
    await this.cache.close();
    await this.remote?.close().catch(() => {});
  }

  private again<T>(use: (remote: OpenFile) => Promise<T>): Promise<T> {
    return this.retry(async () => {
      const remote = (this.remote ??= await this.reopen());
      try {
        return await use(remote);
      } catch (error) {
        this.remote = null;
        await remote.close().catch(() => {});
        throw error;
      }
    });
  }

  private async reopen(): Promise<OpenFile> {
    const remote = await this.exchange.openRead(this.path);
    if (!remote) throw fileMissing(this.name);
    if (remote.size === this.size && remote.modified.getTime() === this.modified.getTime()) return remote;
    await remote.close();
    throw fileChanged(this.name);
  }

  private hold(run: Run): void {
    const last = this.held.at(-1);
    if (last?.end === run.start) this.held[this.held.length - 1] = { start: last.start, end: run.end };
    else this.held.push(run);
  }

  /** Runs are in rising order: halved until the one that could hold it is found. */
  private holds(start: number, end: number): boolean {
    let [low, high] = [0, this.held.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.held[middle]?.end ?? 0) < end) low = middle + 1;
      else high = middle;
    }
    const run = this.held[low];
    return run !== undefined && run.start <= start && end <= run.end;
  }
}
