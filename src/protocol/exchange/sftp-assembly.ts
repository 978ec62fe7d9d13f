import { createHash } from 'node:crypto';
import { SignpipeError } from '../../lib/errors.ts';
import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import { sha256OfStream } from '../../lib/bytes/hash.ts';
import { freshSizeOf, placeSpans, type PlacedDeltaSpan } from '../../lib/bytes/delta.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import { mapConcurrently } from '../../lib/concurrency/map-concurrently.ts';
import { settleAll } from '../../lib/concurrency/settle-all.ts';
import type { AssembleOptions, DeliverOptions, FileAttributes } from './exchange.ts';
import * as failures from './exchange-errors.ts';
import { requestPool, readRanges, writeBehind } from './pipelined-io.ts';
import { hashesThere, runsHashThere } from './remote-hash.ts';
import { hasStatus, isUnsupported, STATUS, type SftpChannel } from './sftp-channel.ts';
import type { SftpEntry } from './sftp-entry.ts';
import type { SftpSession } from './sftp-session.ts';
import type { Upload } from './sftp-upload.ts';
import { announced } from './receive-send.ts';

/** Asked for at once, in bytes: what any disk copies before an answer counts as stalled. */
const COPIED = 32 * 1024 * 1024;
/** Copies asked for before the first is answered. */
const COPIES = 4;
/** Where nothing can be hashed there, so much of what is new is read back at most, in bytes. */
const READ_BACK = 384 * 1024;
/** Read back of each end of a span then, in bytes. */
const EDGE = 4096;

/** An assembly with its numbers checked, and its parts by where they come from. */
interface Parts {
  readonly old: readonly PlacedDeltaSpan[];
  readonly fresh: readonly PlacedDeltaSpan[];
  readonly freshSize: number;
}

function partsOf({ assembly, source }: AssembleOptions): Parts {
  const freshSize = freshSizeOf(assembly);
  const spans = placeSpans(assembly, { source: source.size, fresh: freshSize });
  return {
    old: spans.filter(({ from }) => from === 'source'),
    fresh: spans.filter(({ from }) => from === 'fresh'),
    freshSize,
  };
}

const placeOf = ({ at, start, end }: PlacedDeltaSpan): ByteRange => ({ start: at, end: at + end - start });

const isAsRead = (stats: SftpEntry, { size, modified }: FileAttributes): boolean =>
  stats.kind === 'file' && stats.size === size && stats.mtime * 1000 === modified.getTime();

/** One file made on the exchange out of another and of new bytes. */
export class SftpAssembly {
  private done = 0;
  private readonly parts: Parts;

  /** `from` is the old file's place there, and its name for messages. Throws `assembly-unsound`. */
  constructor(
    private readonly session: SftpSession,
    private readonly from: string,
    private readonly upload: Upload,
    private readonly options: AssembleOptions,
  ) {
    this.parts = partsOf(options);
  }

  /** Makes the file under its temporary name, verifies it and publishes it; copies are made over a channel of their own. */
  async run(copier: Promise<SftpChannel>): Promise<void> {
    const { session, upload } = this;
    const handle = await upload.create(session);
    await upload.finish(session, handle, () =>
      this.options.fresh.use(async (fresh) => {
        await this.fill(await copier, handle, fresh);
        // In this order: what is asked for after a flush is answered after it.
        const [, flushed] = await settleAll([this.verify(fresh), session.flush(handle)]);
        return flushed;
      }),
    );
  }

  private async verify(fresh: ByteSource): Promise<void> {
    const { upload } = this;
    const isRight = (handle: Buffer): Promise<boolean> => this.holdsSomeOf(handle, upload.temporary, fresh);
    if (!(await this.isResult(upload.temporary, isRight)))
      throw failures.verifyFailed(upload.path, 'what was put together is not what was sent');
  }

  /** Whether the target is the result already: its size is right, and every new byte is in its place. */
  async isDone(): Promise<boolean> {
    const { target } = this.upload;
    try {
      return await this.isResult(target, (handle) => this.holdsAllNew(handle, target));
    } catch (error) {
      if (hasStatus(error, STATUS.noSuchFile)) return false;
      throw error;
    }
  }

  /** Whether the old file is as it was read. */
  async isUnchanged(): Promise<boolean> {
    try {
      return isAsRead(await this.session.stat(this.from), this.options.source);
    } catch (error) {
      if (hasStatus(error, STATUS.noSuchFile)) return false;
      throw error;
    }
  }

  /** Copies and sends at the same time, each over its own channel: a copy holds up whatever follows it. */
  private async fill(copier: SftpChannel, handle: Buffer, fresh: ByteSource): Promise<void> {
    // What does not need the answer to what was asked before is asked with it.
    const [from, to] = await settleAll([
      copier.open(this.from, 'r'),
      copier.open(this.upload.temporary, 'r+'),
    ]);
    await settleAll([this.copyOld(copier, from, to), this.sendFresh(handle, fresh)]);
    // A copy that came to the old file's end too early was reported as done.
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
        // Only a copy that begins beyond the end is told of it.
        if (hasStatus(error, STATUS.eof)) throw failures.fileChanged(this.from, error);
        throw isRefusal(error) ? failures.noCopy(this.upload.path, error) : error;
      }
    };
    await mapConcurrently([...copiesOf(this.parts.old)], COPIES, copy);
  }

  private async sendFresh(handle: Buffer, fresh: ByteSource): Promise<void> {
    const announcing: DeliverOptions = { size: this.parts.freshSize, sha256: this.options.fresh.sha256 };
    const write = async (offset: number, bytes: Buffer): Promise<void> => {
      const runs = overlaps(this.parts.fresh, { start: offset, end: offset + bytes.length });
      await Promise.all(
        runs.map(({ span, start, end }) =>
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
    await writeBehind(announced(fresh, announcing, pool), write, { pool });
  }

  private progress(bytes: number): void {
    this.done += bytes;
    this.options.onProgress?.(this.done, this.options.assembly.size);
  }

  /** Whether a file there is what it should be; `isRight` tells where neither its whole is known nor can be hashed there. */
  private async isResult(place: string, isRight: (handle: Buffer) => Promise<boolean>): Promise<boolean> {
    const { session, options } = this;
    const [stats, hashes] = await settleAll([session.stat(place), this.hashesThere(place)]);
    if (stats.kind !== 'file' || stats.size !== options.assembly.size) return false;
    if (hashes) return true;
    const handle = await session.open(place, 'r');
    try {
      const { sha256 } = options;
      return await (sha256 === undefined ? isRight(handle) : this.isWhole(handle, place, sha256));
    } finally {
      await session.closeHandle(handle).catch(() => {});
    }
  }

  /** Whether the host's own programs find what should be there: the whole, where that is known, or what is new. */
  private hashesThere(place: string): Promise<boolean> {
    const { fresh, sha256, assembly } = this.options;
    const run = (command: string, ms: number): ReturnType<SftpSession['run']> =>
      this.session.run(command, ms);
    return sha256 === undefined
      ? runsHashThere(run, place, this.newRuns, fresh.sha256)
      : hashesThere(run, place, { size: assembly.size, sha256 });
  }

  private async isWhole(handle: Buffer, place: string, sha256: string): Promise<boolean> {
    const stored = this.session.blocks(handle, 0, this.options.assembly.size, place);
    return (await sha256OfStream(stored)) === sha256;
  }

  /** Where the new bytes lie in the result. */
  private get newRuns(): ByteRange[] {
    return this.parts.fresh.map(placeOf);
  }

  /** Whether a file holds every new byte in its place. */
  private async holdsAllNew(handle: Buffer, place: string): Promise<boolean> {
    const hash = createHash('sha256');
    for await (const { bytes } of readRanges(this.newRuns, this.session.reader(handle, place)))
      hash.update(bytes);
    return hash.digest('hex') === this.options.fresh.sha256;
  }

  /** Whether it holds some of them, which tell most of what may have gone wrong on the way. */
  private async holdsSomeOf(handle: Buffer, place: string, fresh: ByteSource): Promise<boolean> {
    const runs = someOf(this.newRuns, READ_BACK);
    for await (const { offset, bytes } of readRanges(runs, this.session.reader(handle, place))) {
      const span = this.parts.fresh.find(({ at, start, end }) => offset >= at && offset < at + end - start);
      if (!span) return false;
      if (!bytes.equals(await fresh.read(span.start + offset - span.at, bytes.length))) return false;
    }
    return true;
  }
}

/** The server will not copy, whatever it announced; a full disk or a lost connection is something else. */
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
    for (let from = start; from < end; from += COPIED)
      yield { start: from, length: Math.min(COPIED, end - from), at: at + from - start };
}

/** The parts of a run of the new file in each span that it touches. Spans are in order. */
function overlaps(
  spans: readonly PlacedDeltaSpan[],
  run: ByteRange,
): { readonly span: PlacedDeltaSpan; readonly start: number; readonly end: number }[] {
  return spans
    .filter(({ start, end }) => start < run.end && end > run.start)
    .map((span) => ({
      span,
      start: Math.max(span.start, run.start),
      end: Math.min(span.end, run.end),
    }));
}

/** All runs when they are few bytes, else the ends of each, or of as many as `most` bytes permit, evenly chosen. */
function someOf(runs: readonly ByteRange[], most: number): ByteRange[] {
  if (runs.reduce((sum, { start, end }) => sum + end - start, 0) <= most) return [...runs];
  const edges = runs.flatMap(({ start, end }) =>
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
