import { createHash } from 'node:crypto';
import { SignpipeError } from '../../lib/errors.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import { freshSizeOf, placeSpans, type PlacedDeltaSpan } from '../../lib/bytes/delta.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { settleAll } from '../../lib/concurrency/all-settled.ts';
import type { AssembleOptions, DeliverOptions, FileAttributes } from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { requestPool, readRanges, writeBehind } from './pipelined-io.ts';
import { remoteHashMatches, remoteRangesMatch } from './remote-hash.ts';
import { hasStatus, isUnsupported, STATUS, type SftpChannel, type SftpEntry } from './sftp-channel.ts';
import type { SftpSession } from './sftp-session.ts';
import type { SftpUpload } from './sftp-upload.ts';
import { verifiedBlocksToSend } from './local-file-transfer.ts';

/** Bytes per copy request: as many as any disk copies before the request counts as stalled. */
const COPY_SIZE = 32 * 1024 * 1024;
/** Copy requests in flight. */
const COPIES_IN_FLIGHT = 4;
/** The most new bytes that are read back if the host cannot hash. */
const READ_BACK = 384 * 1024;
/** Bytes that are then read back at each end of a span. */
const EDGE = 4096;

/** A delta's spans, checked, by their origin. */
interface SpansByOrigin {
  readonly old: readonly PlacedDeltaSpan[];
  readonly fresh: readonly PlacedDeltaSpan[];
  readonly freshSize: number;
}

function spansByOrigin({ delta, source }: AssembleOptions): SpansByOrigin {
  const freshSize = freshSizeOf(delta);
  const spans = placeSpans(delta, { source: source.size, fresh: freshSize });
  return {
    old: spans.filter(({ from }) => from === 'source'),
    fresh: spans.filter(({ from }) => from === 'fresh'),
    freshSize,
  };
}

const rangeInResult = ({ at, start, end }: PlacedDeltaSpan): ByteRange => ({
  start: at,
  end: at + end - start,
});

const isAsRead = (stats: SftpEntry, { size, modified }: FileAttributes): boolean =>
  stats.kind === 'file' && stats.size === size && stats.mtime * 1000 === modified.getTime();

/** Assembles a file on the exchange from an old file there and new bytes. */
export class SftpAssembly {
  private done = 0;
  private readonly spans: SpansByOrigin;

  /** `from` is the old file's remote path, also for messages. Throws `assembly-unsound`. */
  constructor(
    private readonly session: SftpSession,
    private readonly from: string,
    private readonly upload: SftpUpload,
    private readonly options: AssembleOptions,
  ) {
    this.spans = spansByOrigin(options);
  }

  /** Assembles the file under its temporary name, verifies it and renames it. Copies go over the second channel `copier`. */
  async run(copier: Promise<SftpChannel>): Promise<void> {
    const { session, upload } = this;
    const handle = await upload.create(session);
    await upload.finish(session, handle, () =>
      this.options.fresh.use(async (fresh) => {
        await this.fill(await copier, handle, fresh);
        // In this order, since the server answers later requests only after a flush.
        const [, flushed] = await settleAll([this.verify(fresh), session.flush(handle)]);
        return flushed;
      }),
    );
  }

  private async verify(fresh: ByteSource): Promise<void> {
    const { upload } = this;
    const hasNew = (handle: Buffer): Promise<boolean> => this.hasSampleOf(handle, upload.temporary, fresh);
    if (!(await this.isResult(upload.temporary, hasNew)))
      throw failures.verifyFailed(upload.path, 'the assembled file differs from what was sent');
  }

  /** Whether the target already is the result: it has the right size and every new byte. */
  async isDone(): Promise<boolean> {
    const { target } = this.upload;
    try {
      return await this.isResult(target, (handle) => this.hasAllNew(handle, target));
    } catch (error) {
      if (hasStatus(error, STATUS.noSuchFile)) return false;
      throw error;
    }
  }

  /** Whether the old file is unchanged since it was read. */
  async isUnchanged(): Promise<boolean> {
    try {
      return isAsRead(await this.session.stat(this.from), this.options.source);
    } catch (error) {
      if (hasStatus(error, STATUS.noSuchFile)) return false;
      throw error;
    }
  }

  /** Copies and uploads at the same time, each over its own channel, since a copy delays the requests after it. */
  private async fill(copier: SftpChannel, handle: Buffer, fresh: ByteSource): Promise<void> {
    // Requests that do not depend on each other are sent together.
    const [from, to] = await settleAll([
      copier.open(this.from, 'r'),
      copier.open(this.upload.temporary, 'r+'),
    ]);
    await settleAll([this.copyOld(copier, from, to), this.sendFresh(handle, fresh)]);
    // A copy that reached the old file's end too early was reported as complete.
    const [after] = await settleAll([
      copier.fstat(from, this.from),
      copier.closeHandle(from),
      copier.closeHandle(to),
    ]);
    if (!isAsRead(after, this.options.source)) throw failures.fileChanged(this.from);
  }

  private async copyOld(copier: SftpChannel, from: Buffer, to: Buffer): Promise<void> {
    const copy = async ({ start, length, at }: Copy): Promise<void> => {
      try {
        await copier.copy(from, start, length, to, at);
        this.progress(length);
      } catch (error) {
        // The server reports the end only if a copy begins beyond it.
        if (hasStatus(error, STATUS.eof)) throw failures.fileChanged(this.from, error);
        throw isRefusal(error) ? failures.noCopy(this.upload.path, error) : error;
      }
    };
    await mapConcurrently([...copiesOf(this.spans.old)], COPIES_IN_FLIGHT, copy);
  }

  private async sendFresh(handle: Buffer, fresh: ByteSource): Promise<void> {
    const announcing: DeliverOptions = { size: this.spans.freshSize, sha256: this.options.fresh.sha256 };
    const write = async (offset: number, bytes: Buffer): Promise<void> => {
      const ranges = overlaps(this.spans.fresh, { start: offset, end: offset + bytes.length });
      await Promise.all(
        ranges.map(({ span, start, end }) =>
          this.session.write(
            handle,
            span.at + start - span.start,
            bytes.subarray(start - offset, end - offset),
          ),
        ),
      );
      this.progress(bytes.length);
    };
    const pool = requestPool();
    await writeBehind(verifiedBlocksToSend(fresh, announcing, pool), write, { pool });
  }

  private progress(bytes: number): void {
    this.done += bytes;
    this.options.onProgress?.(this.done, this.options.delta.size);
  }

  /** Whether a remote file is the result; `hasNew` is used if its SHA-256 is not known and the host cannot hash. */
  private async isResult(path: string, hasNew: (handle: Buffer) => Promise<boolean>): Promise<boolean> {
    const { session, options } = this;
    const [stats, hashes] = await settleAll([session.stat(path), this.matchesRemotely(path)]);
    if (stats.kind !== 'file' || stats.size !== options.delta.size) return false;
    if (hashes) return true;
    const handle = await session.open(path, 'r');
    try {
      const { sha256 } = options;
      return await (sha256 === undefined ? hasNew(handle) : this.isWhole(handle, path, sha256));
    } finally {
      await session.closeHandle(handle).catch(() => {});
    }
  }

  /** Whether the host's own hash of the file matches: of the whole, if its SHA-256 is given, or of the new bytes. */
  private matchesRemotely(path: string): Promise<boolean> {
    const { fresh, sha256, delta } = this.options;
    const run = (command: string, ms: number): ReturnType<SftpSession['run']> =>
      this.session.run(command, ms);
    return sha256 === undefined
      ? remoteRangesMatch(run, path, this.newRanges, fresh.sha256)
      : remoteHashMatches(run, path, { size: delta.size, sha256 });
  }

  private async isWhole(handle: Buffer, path: string, sha256: string): Promise<boolean> {
    const stored = this.session.blocks(handle, 0, this.options.delta.size, path);
    return (await sha256OfStream(stored)) === sha256;
  }

  /** The ranges of the new bytes in the result. */
  private get newRanges(): ByteRange[] {
    return this.spans.fresh.map(rangeInResult);
  }

  /** Whether a file has every new byte in its path. */
  private async hasAllNew(handle: Buffer, path: string): Promise<boolean> {
    const hash = createHash('sha256');
    for await (const { bytes } of readRanges(this.newRanges, this.session.reader(handle, path)))
      hash.update(bytes);
    return hash.digest('hex') === this.options.fresh.sha256;
  }

  /** Whether it has a sample of the new bytes in their places, which finds most transfer errors. */
  private async hasSampleOf(handle: Buffer, path: string, fresh: ByteSource): Promise<boolean> {
    const ranges = sampleOf(this.newRanges, READ_BACK);
    for await (const { offset, bytes } of readRanges(ranges, this.session.reader(handle, path))) {
      const span = this.spans.fresh.find(({ at, start, end }) => offset >= at && offset < at + end - start);
      if (!span) return false;
      if (!bytes.equals(await fresh.read(span.start + offset - span.at, bytes.length))) return false;
    }
    return true;
  }
}

/** Whether the server refuses to copy, although it announced copy-data; not for a full disk or a lost connection. */
const isRefusal = (error: unknown): boolean =>
  !(error instanceof SignpipeError) && (isUnsupported(error) || hasStatus(error, STATUS.permissionDenied));

/** A request to copy `length` bytes from `start` of the old file to `at` of the new one. */
interface Copy {
  readonly start: number;
  readonly length: number;
  readonly at: number;
}

function* copiesOf(spans: readonly PlacedDeltaSpan[]): Generator<Copy> {
  for (const { start, end, at } of spans)
    for (let from = start; from < end; from += COPY_SIZE)
      yield { start: from, length: Math.min(COPY_SIZE, end - from), at: at + from - start };
}

/** The part of a range in each span that it overlaps. */
function overlaps(
  spans: readonly PlacedDeltaSpan[],
  range: ByteRange,
): { readonly span: PlacedDeltaSpan; readonly start: number; readonly end: number }[] {
  return spans
    .filter(({ start, end }) => start < range.end && end > range.start)
    .map((span) => ({
      span,
      start: Math.max(span.start, range.start),
      end: Math.min(span.end, range.end),
    }));
}

/** All ranges if they are few bytes, else both ends of each; evenly chosen ones if these are more than `most` bytes. */
function sampleOf(ranges: readonly ByteRange[], most: number): ByteRange[] {
  if (ranges.reduce((sum, { start, end }) => sum + end - start, 0) <= most) return [...ranges];
  const edges = ranges.flatMap(({ start, end }) =>
    end - start <= 2 * EDGE
      ? [{ start, end }]
      : [
          { start, end: start + EDGE },
          { start: end - EDGE, end },
        ],
  );
  const step = Math.max(1, Math.ceil((edges.length * 2 * EDGE) / most));
  return edges.filter((_, index) => (edges.length - 1 - index) % step === 0);
}
