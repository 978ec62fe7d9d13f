import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  requestPool,
  IN_FLIGHT,
  readBlocksInOrder,
  REQUEST_SIZE,
  writeBehind,
} from '../../../src/protocol/exchange/pipelined-io.ts';
import { verifiedBlocksToSend, blocksToSend } from '../../../src/protocol/exchange/local-file-transfer.ts';
import { BufferSource, type ByteSource } from '../../../src/lib/bytes/byte-source.ts';
import { sha256Hex } from '../../../src/lib/bytes/hash.ts';

/** Several blocks and a part of one. */
const BYTES = randomBytes(40 * REQUEST_SIZE + 12_345);
const expected = { size: BYTES.length, sha256: sha256Hex(BYTES) };

const atRandom = (): Promise<void> => sleep(randomInt(4));

/** A server that answers in any order, and reads the bytes of a write only when it answers. */
function lateWriter(): {
  stored: Buffer;
  most: () => number;
  write: (at: number, b: Buffer) => Promise<void>;
} {
  const stored = Buffer.alloc(BYTES.length);
  let [open, most] = [0, 0];
  const write = async (offset: number, bytes: Buffer): Promise<void> => {
    most = Math.max(most, ++open);
    await atRandom();
    bytes.copy(stored, offset);
    open--;
  };
  return { stored, most: () => most, write };
}

async function gathered(content: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const each of content) parts.push(Buffer.from(each));
  return Buffer.concat(parts);
}

describe('writeBehind', () => {
  it('keeps a block until its writes are answered, with many writes in flight', async () => {
    const pool = requestPool();
    const { stored, most, write } = lateWriter();
    const content = verifiedBlocksToSend(new BufferSource(BYTES, 'bytes'), expected, pool);
    const ends: number[] = [];
    await writeBehind(content, write, { pool, onWritten: (end) => ends.push(end) });
    assert.ok(stored.equals(BYTES));
    assert.equal(most(), IN_FLIGHT);
    assert.equal(ends.at(-1), BYTES.length);
    assert.deepEqual(
      ends,
      ends.toSorted((a, b) => a - b),
    );
  });

  it("does not reuse the caller's memory", async () => {
    const mine = Buffer.from(BYTES);
    const pool = requestPool();
    const content = verifiedBlocksToSend(new BufferSource(mine, 'mine'), expected, pool);
    await writeBehind(content, lateWriter().write, { pool });
    assert.ok(mine.equals(BYTES));
  });

  it('resumes at the end of an earlier transfer', async () => {
    const start = 3 * REQUEST_SIZE + 7;
    const source = new BufferSource(BYTES, 'bytes');
    assert.ok((await gathered(blocksToSend(source, expected, { start }))).equals(BYTES.subarray(start)));
  });

  it('exchange-local-file: the content is not the announced one', async () => {
    const other = Buffer.from(BYTES);
    other.writeUInt8(other.readUInt8(0) ^ 1);
    await assert.rejects(gathered(verifiedBlocksToSend(new BufferSource(other, 'other'), expected)), {
      code: 'exchange-local-file',
    });
  });

  it('exchange-local-file: the source cannot be read', async () => {
    const source: ByteSource = {
      name: 'broken',
      size: BYTES.length,
      read: () => Promise.reject(new Error('EIO: i/o error')),
    };
    await assert.rejects(gathered(verifiedBlocksToSend(source, expected)), {
      code: 'exchange-local-file',
      message: /broken: EIO/,
    });
  });
});

describe('readBlocksInOrder', () => {
  it('yields blocks in order, in whatever order their parts are answered', async () => {
    const read = async (target: Buffer, offset: number): Promise<void> => {
      await atRandom();
      BYTES.copy(target, 0, offset);
    };
    assert.ok((await gathered(readBlocksInOrder(0, BYTES.length, read))).equals(BYTES));
    const start = REQUEST_SIZE + 1;
    assert.ok((await gathered(readBlocksInOrder(start, BYTES.length, read))).equals(BYTES.subarray(start)));
    assert.equal((await gathered(readBlocksInOrder(5, 5, read))).length, 0);
  });

  it('waits for pending reads if the caller stops', async () => {
    let open = 0;
    const read = async (): Promise<void> => {
      open++;
      await sleep(5);
      open--;
    };
    for await (const block of readBlocksInOrder(0, BYTES.length, read)) {
      assert.ok(block.length > 0);
      break;
    }
    assert.equal(open, 0);
  });

  it('ends with the first failed read', async () => {
    const read = async (_: Buffer, offset: number): Promise<void> => {
      await atRandom();
      if (offset >= 9 * REQUEST_SIZE) throw new Error(`at ${offset}`);
    };
    await assert.rejects(gathered(readBlocksInOrder(0, BYTES.length, read)), /at \d+/);
  });
});
