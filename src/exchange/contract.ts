import type { ByteSource } from '../io/source.ts';
import type { SshOptions } from '../ssh/connection.ts';

/** Called with bytes done and bytes in all. */
export type Progress = (done: number, total: number) => void;

export interface RemoteFile {
  /** Bytes. */
  readonly size: number;
  /** By the exchange's clock, in whole seconds. */
  readonly modified: Date;
}

export interface FetchOptions {
  /** The most bytes the file may have. */
  readonly limit: number;
  readonly onProgress?: Progress;
}

export interface DeliverOptions {
  /** What the local file must have, in bytes. */
  readonly size: number;
  /** What the file must hash to, in lower-case hex; there and here. */
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
  close(): Promise<void>;
}

/**
 * The place where zips are put and taken. Paths are relative to the exchange's url, with `/`. One
 * connection is kept and made anew when it was cut. Errors:
 *
 * - `exchange-file-missing`, `exchange-not-a-file`, `exchange-file-changed`, `exchange-path-outside` (invalid)
 * - `exchange-file-too-large` (not-allowed)
 * - `exchange-no-sftp`, `exchange-no-replace`, and those of `connectPinned` (usage, alarm)
 * - `exchange-folder-missing`, `exchange-permission-denied`, `exchange-refused`, `exchange-protocol`,
 *   `exchange-stalled`, `exchange-verify-failed`, `connection-lost`, `host-unreachable` (unavailable)
 * - `exchange-local-file`, `exchange-closed` (local)
 */
export interface Exchange {
  /** Size and time of a regular file; null when there is none of that name. */
  stat(path: string): Promise<RemoteFile | null>;
  /** Takes a whole file. `destination` shows it only once it is complete. */
  fetch(path: string, destination: string, options: FetchOptions): Promise<Fetched>;
  /** Puts a file: temporary name, flush, verification, rename over the target. Makes missing folders below the url's own. */
  deliver(file: string, path: string, options: DeliverOptions): Promise<void>;
  /** A file for random access; null where the protocol has none (the legacy SCP protocol). */
  openRead(path: string): Promise<OpenFile | null>;
  close(): Promise<void>;
}

export interface ExchangeOptions {
  /** `sftp://user@host:port/path`, `scp://...` for the legacy protocol, `file:///path` for a shared folder. */
  readonly url: string;
  /** Needed by `sftp://` and `scp://`. */
  readonly ssh?: SshOptions;
  /** How long a single answer may take, in milliseconds; two minutes unless given. */
  readonly stallTimeoutMs?: number;
}

export const STALL_TIMEOUT_MS = 120_000;
