import type { ByteSource } from '../io/source.ts';
import type { Exchange, OpenFile, Run } from './contract.ts';
import { fileChanged, fileMissing } from './failures.ts';
import { HeldRuns, indexBeyond } from './held-runs.ts';

/** Tries an action again while what it needs is down. */
export type Retry = <T>(action: () => Promise<T>) => Promise<T>;

export interface FarFileOptions {
  /** A local file that does not exist yet, for what is fetched and too much for memory. */
  readonly cache: string;
  readonly retry: Retry;
  /** For messages. */
  readonly name: string;
}

interface Waiting {
  readonly end: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A file that stays on the exchange. Runs of it that will be needed are fetched ahead, once and together;
 * whatever else is read comes over the line. It outlives connections: one that was cut is made anew, and
 * goes on, as long as the file is the same by size and time; else `exchange-file-changed`.
 */
export class FarFile implements ByteSource {
  private readonly held: HeldRuns;
  /** Null after a failure, until it is opened again. */
  private remote: Promise<OpenFile> | null;
  /** What is being fetched ahead, or was. */
  private ahead: readonly Run[] = [];
  private failure: { readonly error: unknown } | null = null;
  private waiting: Waiting[] = [];
  private closed = false;
  readonly size: number;
  readonly modified: Date;
  readonly name: string;

  private constructor(
    private readonly exchange: Exchange,
    private readonly path: string,
    first: OpenFile,
    private readonly options: FarFileOptions,
  ) {
    this.remote = Promise.resolve(first);
    this.size = first.size;
    this.modified = first.modified;
    this.name = options.name;
    this.held = new HeldRuns(options.cache);
  }

  /** Opens a file by its path on the exchange; null where the protocol has no random access. */
  static async open(exchange: Exchange, path: string, options: FarFileOptions): Promise<FarFile | null> {
    const first = await options.retry(() => exchange.openRead(path));
    return first && new FarFile(exchange, path, first, options);
  }

  /** How many bytes of it were fetched ahead. */
  get fetched(): number {
    return this.held.size;
  }

  /**
   * Begins to fetch runs, which must be in rising order and apart, once in a file's life. Who reads of
   * them waits for what is still on its way, and hears of a failure.
   */
  fetchAhead(runs: readonly Run[]): void {
    this.ahead = runs;
    void this.fetch(runs).catch((error: unknown) => {
      this.failure = { error };
      for (const { reject } of this.waiting.splice(0)) reject(error);
    });
  }

  private fetch(runs: readonly Run[]): Promise<void> {
    return this.again(async (remote) => {
      const reached = this.held.end;
      const missing = runs
        .filter(({ end }) => end > reached)
        .map(({ start, end }) => ({ start: Math.max(start, reached), end }));
      for await (const { offset, bytes } of remote.readRuns(missing)) {
        if (this.closed) return;
        await this.held.append(offset, bytes);
        this.wake();
      }
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    await this.waitFor(offset, offset + length);
    return (await this.held.read(offset, length)) ?? this.again((remote) => remote.read(offset, length));
  }

  async readInto(target: Buffer, offset: number): Promise<void> {
    await this.waitFor(offset, offset + target.length);
    if (await this.held.readInto(target, offset)) return;
    (await this.again((remote) => remote.read(offset, target.length))).copy(target);
  }

  /** Until what is being fetched ahead of this has come. */
  private async waitFor(start: number, end: number): Promise<void> {
    const run = this.ahead[indexBeyond(this.ahead, start)];
    if (run && run.start <= start && end <= run.end) await this.arrival(end);
  }

  /** Until what is fetched ahead has come as far as this. */
  private arrival(end: number): Promise<void> {
    if (this.held.end >= end) return Promise.resolve();
    if (this.failure) return Promise.reject(this.failure.error);
    return new Promise((resolve, reject) => this.waiting.push({ end, resolve, reject }));
  }

  private wake(): void {
    if (this.waiting.length === 0) return;
    const ready = this.waiting.filter(({ end }) => end <= this.held.end);
    this.waiting = this.waiting.filter(({ end }) => end > this.held.end);
    for (const { resolve } of ready) resolve();
  }

  async close(): Promise<void> {
    this.closed = true;
    await this.remote?.then((remote) => remote.close()).catch(() => {});
    await this.held.close();
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
