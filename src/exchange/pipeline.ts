/** Requests in flight at a time, and bytes in each: what keeps a long fat line full (16 x 261,120 = 4 MB). */
export const IN_FLIGHT = 16;
/** The largest read or write that OpenSSH's sftp-server takes (PROTOCOL, `limits@openssh.com`). */
export const REQUEST_SIZE = 261_120;

export type ReadAt = (offset: number, length: number) => Promise<Buffer>;
export type WriteAt = (offset: number, bytes: Buffer) => Promise<void>;

/** Bytes and where they stand. */
export interface Piece {
  readonly offset: number;
  readonly bytes: Buffer;
}

/** The bytes of several runs [start, end), one run after another, with several reads in flight. */
export async function* readRuns(
  runs: Iterable<{ readonly start: number; readonly end: number }>,
  read: ReadAt,
): AsyncGenerator<Piece> {
  const pending: Promise<Piece>[] = [];
  for (const { offset, length } of requests(runs)) {
    const first = pending.length >= IN_FLIGHT ? pending.shift() : undefined;
    if (first) yield await first;
    const ahead = read(offset, length).then((bytes) => ({ offset, bytes }));
    ahead.catch(() => {}); // Reported when its turn comes; another may have failed before.
    pending.push(ahead);
  }
  for (let next = pending.shift(); next; next = pending.shift()) yield await next;
}

function* requests(
  runs: Iterable<{ readonly start: number; readonly end: number }>,
): Generator<{ offset: number; length: number }> {
  for (const { start, end } of runs)
    for (let offset = start; offset < end; offset += REQUEST_SIZE)
      yield { offset, length: Math.min(REQUEST_SIZE, end - offset) };
}

/** The bytes [start, end) in order, with several reads in flight. */
export async function* readAhead(start: number, end: number, read: ReadAt): AsyncGenerator<Buffer> {
  for await (const { bytes } of readRuns([{ start, end }], read)) yield bytes;
}

export interface WriteBehindOptions {
  /** Where the first chunk goes; 0 unless given. */
  readonly start?: number;
  /** Told up to where everything was written. */
  readonly onWritten?: (end: number) => void;
}

/** Writes chunks one after another with several writes in flight; returns when all were answered. */
export async function writeBehind(
  content: AsyncIterable<Buffer>,
  write: WriteAt,
  { start = 0, onWritten }: WriteBehindOptions = {},
): Promise<void> {
  const pending: { end: number; written: Promise<void> }[] = [];
  const settle = async (): Promise<void> => {
    const first = pending.shift();
    await first?.written;
    if (first) onWritten?.(first.end);
  };
  let offset = start;
  for await (const chunk of content) {
    if (pending.length >= IN_FLIGHT) await settle();
    const written = write(offset, chunk);
    written.catch(() => {}); // As above.
    offset += chunk.length;
    pending.push({ end: offset, written });
  }
  while (pending.length > 0) await settle();
}
