import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SharedMemory } from '../../src/io/shared-memory.ts';

const MIB = 2 ** 20;

describe('memory that threads share', () => {
  it('is each borrower’s own until it is given back, and no more than there is', () => {
    const [one, other] = [new SharedMemory(), new SharedMemory()];
    const [first, second] = [one.take(60 * MIB), other.take(36 * MIB)];
    assert(first && second);
    assert.ok(first.buffer instanceof SharedArrayBuffer);
    second.fill(2);
    first.fill(1);
    assert.ok(second.every((byte) => byte === 2));
    assert.equal(one.take(1), null);
    assert.equal(other.take(1), null);
    one.release();
    assert.equal(one.take(1), null, 'the other still uses it');
    other.release();
    one.release();
    const again = one.take(96 * MIB);
    assert.equal(again?.length, 96 * MIB);
    assert.equal(again.buffer, first.buffer, 'the same memory again');
    one.release();
  });

  it('takes nothing for nothing', () => {
    const memory = new SharedMemory();
    assert.equal(memory.take(0)?.length, 0);
    memory.release();
  });
});
