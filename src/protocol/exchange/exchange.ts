import type { ByteRange } from '../../lib/bytes/byte-range.ts';
import type { Delta } from '../../lib/bytes/delta.ts';
import type { ByteSource } from '../../lib/bytes/byte-source.ts';
import type { SshOptions } from '../../lib/ssh/options.ts';

/** Called with the bytes done and the total. */
export type OnProgress = (done: number, total: number) => void;

export interface FileAttributes {
  /** In bytes. */
  readonly size: number;
  /** By the exchange's clock, in whole seconds. */
  readonly modified: Date;
}

export interface FetchOptions {
  /** The largest size allowed, in bytes. */
  readonly limit: number;
  readonly onProgress?: OnProgress;
  /** Whether the file is flushed to disk before `fetch` returns; default true. */
  readonly flushed?: boolean;
}

export interface DeliverOptions {
  /** The size that the content must have, in bytes. */
  readonly size: number;
  /** Its SHA-256 in lower-case hex, verified here and on the exchange. */
  readonly sha256: string;
  /**
   * Random hex digits for the temporary name; drawn by the exchange unless given. A caller that may deliver again
   * after a crash keeps them: then the leftovers of the first upload are removed.
   */
  readonly temporary?: string;
  readonly onProgress?: OnProgress;
}

export interface FetchResult {
  readonly size: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** A file on the exchange, open for random access. */
export interface OpenFile extends ByteSource {
  /** By the exchange's clock, in whole seconds, when it was opened. */
  readonly modified: Date;
  /** Reads several ranges in order, with many reads in flight. */
  readRanges(
    ranges: readonly ByteRange[],
  ): AsyncIterable<{ readonly offset: number; readonly bytes: Buffer }>;
  close(): Promise<void>;
}

/** The new bytes of a file that the exchange assembles. */
export interface NewBytes {
  /** Their SHA-256 in lower-case hex. */
  readonly sha256: string;
  /** Passes them to `send`; called only if they have to be sent. */
  readonly use: <T>(send: (content: ByteSource) => Promise<T>) => Promise<T>;
}

export interface AssembleOptions {
  /** The old file's attributes when it was read; they must not have changed. */
  readonly source: FileAttributes;
  readonly delta: Delta;
  readonly fresh: NewBytes;
  /** SHA-256 of the whole result. If it is not given, only the new bytes are verified. */
  readonly sha256?: string;
  /** Random hex digits for the temporary name; see `DeliverOptions`. */
  readonly temporary?: string;
  readonly onProgress?: OnProgress;
}

export interface RehearseOptions {
  /** Whether a missing folder is created. */
  readonly make: boolean;
  /** Random hex digits for the temporary names; drawn by the exchange unless given. */
  readonly temporary?: string;
}

/** The result of a rehearsal in a folder. */
export interface Rehearsal {
  /** Whether a file was written and renamed. */
  readonly written: boolean;
  /** Whether files can be deleted; true if unknown. */
  readonly deletes: boolean;
  /** Notes for the operator. */
  readonly remarks: readonly string[];
  /** The path of a file that the exchange did not allow to be removed. */
  readonly left: string | null;
}

/** An entry of a folder. Its name is as the host gives it. */
export interface ListedEntry extends FileAttributes {
  readonly name: string;
  readonly kind: 'file' | 'folder' | 'other';
}

/** What a file has to be for it to be removed. */
export interface ExpectedFile extends FileAttributes {
  /** In lower-case hex; not compared unless given. */
  readonly sha256?: string | undefined;
}

/**
 * The place where zips are delivered and fetched. Paths are relative to the exchange's url, with `/`. One connection
 * is kept open, and opened again after a cut. Errors:
 *
 * - `exchange-file-missing`, `exchange-not-a-file`, `exchange-file-changed`, `exchange-path-outside` (invalid)
 * - `exchange-file-too-large` (not-allowed)
 * - `exchange-no-sftp`, `exchange-no-rename`, `exchange-no-copy`, and those of `connectPinned` (usage, alarm)
 * - `exchange-folder-missing`, `exchange-permission-denied`, `exchange-refused`, `exchange-protocol`,
 *   `exchange-stalled`, `exchange-verify-failed`, `connection-lost`, `host-unreachable` (unavailable)
 * - `exchange-local-file`, `exchange-closed` (local)
 */
export interface Exchange {
  /** Size and time of a regular file; null if there is no file of that name. */
  stat(path: string): Promise<FileAttributes | null>;
  /**
   * Downloads a whole file. `destination` appears only when it is complete. If the connection is cut, the bytes
   * received may stay beside it in a hidden file, and the next call with this destination resumes there.
   */
  fetch(path: string, destination: string, options: FetchOptions): Promise<FetchResult>;
  /**
   * Uploads a file: temporary name, flush, verification, rename over the target. Creates missing folders below
   * the url's own. The content is read in order; a resumed transfer starts where it was cut.
   */
  deliver(content: ByteSource, path: string, options: DeliverOptions): Promise<void>;
  /** Opens a file for random access; null if the protocol has none (the legacy SCP protocol). */
  openRead(path: string): Promise<OpenFile | null>;
  /** Whether `assemble` is supported. */
  canAssemble(): Promise<boolean>;
  /**
   * Delivers a file most of whose bytes the exchange already has in the file `from`: those are copied on the
   * exchange. The new bytes are uploaded and verified by a hash computed there, or, if no command can be run, by
   * reading some of them back. Temporary name, flush and rename are as in `deliver`; the result may replace `from`
   * itself. If `from` changed or is missing and the target already is the result, the call succeeds: an earlier
   * attempt finished before a crash.
   */
  assemble(from: string, path: string, options: AssembleOptions): Promise<void>;
  /**
   * Tries in a folder what `deliver` does, with a small file that is then removed, to find out before signing that a
   * delivery cannot succeed. Null if the folder is missing and `make` is false. Throws what `deliver` throws.
   */
  rehearse(folder: string, options: RehearseOptions): Promise<Rehearsal | null>;
  /**
   * The entries of a folder, at most `limit`, links not followed; empty if it is missing. Null if the protocol lists no
   * folders (the legacy SCP protocol).
   */
  list(folder: string, limit: number): Promise<readonly ListedEntry[] | null>;
  /**
   * Removes a file if it is the expected one, and no other that took its name meanwhile; returns whether it did. Reports the
   * bytes that are read to see that.
   */
  removeFile(path: string, expected: ExpectedFile, onProgress?: OnProgress): Promise<boolean>;
  /** Removes a folder if it is empty; returns whether it did. */
  removeFolder(path: string): Promise<boolean>;
  close(): Promise<void>;
}

export interface ExchangeOptions {
  /** `sftp://user@host:port/path`, `scp://...` for the legacy protocol, `file:///path` for a shared folder. */
  readonly url: string;
  /** Needed by `sftp://` and `scp://`. */
  readonly ssh?: SshOptions;
  /** How long a single reply may take, in milliseconds; default two minutes. */
  readonly stallTimeoutMs?: number;
  /**
   * A transfer that was cut is resumed if at least this many bytes had arrived; default 32 MiB. SFTP only.
   */
  readonly resumeAfter?: number;
}
