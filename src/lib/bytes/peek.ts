/** A stream whose first bytes are known. */
export interface Peeked {
  /** The first `length` bytes, or all if there are fewer. */
  readonly head: Buffer;
  /** All bytes, the first ones too. To be read once, or ended by `leave`. */
  readonly all: AsyncIterable<Buffer>;
  readonly leave: () => Promise<void>;
}

/** Reads the first bytes of a stream, whose chunks may be overwritten when the next one is read. */
export async function peek(stream: AsyncIterable<Buffer>, length: number): Promise<Peeked> {
  const chunks = stream[Symbol.asyncIterator]();
  const parts: Buffer[] = [];
  let size = 0;
  while (size < length) {
    const next = await chunks.next();
    if (next.done === true) break;
    parts.push(Buffer.from(next.value));
    size += next.value.length;
  }
  return {
    head: Buffer.concat(parts).subarray(0, length),
    all: joined(parts, chunks),
    leave: async () => void (await chunks.return?.()),
  };
}

async function* joined(first: readonly Buffer[], rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* first;
    for (;;) {
      const next = await rest.next();
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await rest.return?.();
  }
}
