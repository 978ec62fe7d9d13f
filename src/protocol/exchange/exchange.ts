import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { Delta } from '../../lib/bytes/delta.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';

/** Called with bytes done and bytes in all. */
export type Progress = (done: number, total: number) => void;

export interface FileAttributes {
  /** Bytes. */
  readonly size: number;
  /** By the exchange's clock, in whole seconds. */
  readonly modified: Date;
}

export interface FetchOptions {
  /** The most bytes the file may have. */
  readonly limit: number;
  readonly onProgress?: Progress;
  /** Whether it survives a power cut when this ends; true unless given. Else the caller sees to that, if need be. */
  readonly flushed?: boolean;
}

export interface DeliverOptions {
  /** What the content must have, in bytes. */
  readonly size: number;
  /** What it must hash to, in lower-case hex; there and here. */
  readonly sha256: string;
  /**
   * Hex digits for the temporary name, drawn at random and kept by whoever may have to deliver again
   * after a crash: what a cut upload left under this name is taken away first. Drawn anew unless given.
   */
  readonly temporary?: string;
  readonly onProgress?: Progress;
}

export interface Fetched {
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** A file on the exchange, open for random access. */
export interface OpenFile extends ByteSource {
  /** By the exchange's clock, in whole seconds, when it was opened. */
  readonly modified: Date;
  /** The bytes of several runs, one after another, with many reads on their way at once. */
  readRanges(runs: Iterable<ByteRange>): AsyncIterable<{ readonly offset: number; readonly bytes: Buffer }>;
  close(): Promise<void>;
}

/** Bytes that are new in a file that the exchange puts together. */
export interface NewBytes {
  /** What they must hash to, in lower-case hex. */
  readonly sha256: string;
  /** Hands them to `send`: called only when they are to be sent. */
  readonly use: <T>(send: (content: ByteSource) => Promise<T>) => Promise<T>;
}

export interface AssembleOptions {
  /** The old file as it was read: it must still be so. */
  readonly source: FileAttributes;
  readonly assembly: Delta;
  readonly fresh: NewBytes;
  /** What the result must hash to as a whole, where that is known; only its new bytes are verified else. */
  readonly sha256?: string;
  /** As in `DeliverOptions`. */
  readonly temporary?: string;
  readonly onProgress?: Progress;
}

export interface RehearseOptions {
  /** Whether a missing folder is created. */
  readonly make: boolean;
  /** A token for the names of temporary files; random unless given. */
  readonly temporary?: string;
}

/** What trying a folder showed. */
export interface Rehearsal {
  /** Whether a file was written and renamed. */
  readonly written: boolean;
  /** Whether files can be deleted, as far as is known. */
  readonly deletes: boolean;
  /** What people should know about it. */
  readonly remarks: readonly string[];
  /** A file that the exchange did not let be removed, by its path. */
  readonly left: string | null;
}

/**
 * The place where zips are put and taken. Paths are relative to the exchange's url, with `/`. One
 * connection is kept and made anew when it was cut. Errors:
 *
 * - `exchange-file-missing`, `exchange-not-a-file`, `exchange-file-changed`, `exchange-path-outside` (invalid)
 * - `exchange-file-too-large` (not-allowed)
 * - `exchange-no-sftp`, `exchange-no-rename`, `exchange-no-copy`, and those of `connectPinned` (usage, alarm)
 * - `exchange-folder-missing`, `exchange-permission-denied`, `exchange-refused`, `exchange-protocol`,
 *   `exchange-stalled`, `exchange-verify-failed`, `connection-lost`, `host-unreachable` (unavailable)
 * - `exchange-local-file`, `exchange-closed` (local)
 */
export interface Exchange {
  /** Size and time of a regular file; null when there is none of that name. */
  stat(path: string): Promise<FileAttributes | null>;
  /**
   * Takes a whole file. `destination` shows it only once it is complete. What came in before the connection
   * was cut may stay beside it, hidden, for the next call with this destination to go on from.
   */
  fetch(path: string, destination: string, options: FetchOptions): Promise<Fetched>;
  /**
   * Puts a file: temporary name, flush, verification, rename over the target. Makes missing folders below
   * the url's own. The content is read in order, from its beginning again when a cut transfer goes on.
   */
  deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void>;
  /** A file for random access; null where the protocol has none (the legacy SCP protocol). */
  openRead(path: string): Promise<OpenFile | null>;
  /** Whether `assemble` can be used. */
  canAssemble(): Promise<boolean>;
  /**
   * Puts a file of which the exchange holds most bytes already, in the file `from`: those are copied there
   * and never travel. The new ones are held against what they must be, by a hash made there, or where
   * no command may be run by reading some of them back. Name, flush and rename as in `deliver`; the result
   * may replace `from` itself. When `from` changed or is gone, and the target holds the result already,
   * that was done before a crash, and stands.
   */
  assemble(from: string, path: string, options: AssembleOptions): Promise<void>;
  /**
   * Does in a folder what `deliver` would do, with a small file that is removed: so a delivery that cannot succeed
   * is known before there is anything to deliver. Null if the folder is not there, unless `make` creates it.
   * Throws what `deliver` would.
   */
  rehearse(folder: string, options: RehearseOptions): Promise<Rehearsal | null>;
  close(): Promise<void>;
}

export interface ExchangeOptions {
  /** `sftp://user@host:port/path`, `scp://...` for the legacy protocol, `file:///path` for a shared folder. */
  readonly url: string;
  /** Needed by `sftp://` and `scp://`. */
  readonly ssh?: SshOptions;
  /** How long a single answer may take, in milliseconds; two minutes unless given. */
  readonly stallTimeoutMs?: number;
  /**
   * After so many bytes a transfer whose connection was cut goes on where it was; 32 MiB unless given. Of
   * SFTP only.
   */
  readonly resumeAfter?: number;
}

export const STALL_TIMEOUT_MS = 120_000;
export const RESUME_AFTER = 32 * 1024 * 1024;
