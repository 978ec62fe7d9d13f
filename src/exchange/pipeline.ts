/** Requests in flight at a time, and bytes in each: what keeps a long fat line full (16 x 261,120 = 4 MB). */
export const IN_FLIGHT = 16;
/** The largest read or write that OpenSSH's sftp-server takes (PROTOCOL, `limits@openssh.com`). */
export const REQUEST_SIZE = 261_120;

export type ReadAt = (offset: number, length: number) => Promise<Buffer>;
export type WriteAt = (offset: number, bytes: Buffer) => Promise<void>;

/** The bytes [start, end) in order, with several reads in flight. */
export async function* readAhead(start: number, end: number, read: ReadAt): AsyncGenerator<Buffer> {
  const pending: Promise<Buffer>[] = [];
  let next = start;
  for (;;) {
    for (; pending.length < IN_FLIGHT && next < end; next += REQUEST_SIZE) {
      const ahead = read(next, Math.min(REQUEST_SIZE, end - next));
      ahead.catch(() => {}); // Reported when its turn comes; another may have failed before.
      pending.push(ahead);
    }
    const first = pending.shift();
    if (!first) return;
    yield await first;
  }
}

/** Writes chunks one after another with several writes in flight; returns when all were answered. */
export async function writeBehind(content: AsyncIterable<Buffer>, write: WriteAt): Promise<void> {
  const pending: Promise<void>[] = [];
  let offset = 0;
  for await (const chunk of content) {
    if (pending.length >= IN_FLIGHT) await pending.shift();
    const behind = write(offset, chunk);
    behind.catch(() => {}); // As above.
    pending.push(behind);
    offset += chunk.length;
  }
  for (const behind of pending) await behind;
}
