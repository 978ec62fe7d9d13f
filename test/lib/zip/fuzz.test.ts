import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SignpipeError } from '../../../src/lib/errors.ts';
import { extra, forge, forgeZip64, random, read, sample, virtualEntry } from './zips.ts';

const ROUNDS = 3000;
const LIMITS = { archive: 1 << 20, entries: 1000, entry: 1 << 20, ratio: 200 };

/** Zips that together have every structure. */
function seeds(): Buffer[] {
  const content = sample(700, 4);
  const plain = forge(
    [
      { name: 'a.exe', content, comment: 'c', localExtra: extra(0x5455, Buffer.from([1, 0, 0, 0, 0])) },
      { name: 'dir/' },
      { name: 'dir/b', content: 'b', method: 0, gap: virtualEntry(3) },
      { name: 'dir/s', content, flags: 0x808 },
    ],
    { comment: 'archive' },
  );
  return [plain, forgeZip64()];
}

/** Opens everything that can be opened; every error must be one of ours. */
async function consume(bytes: Buffer): Promise<'sound' | 'refused'> {
  try {
    const archive = await read(bytes, LIMITS);
    let total = 0;
    for (const entry of archive.entries)
      try {
        for await (const chunk of await archive.open(entry)) total += chunk.length;
      } catch (error) {
        if (!(error instanceof SignpipeError)) throw error;
      }
    assert.ok(total <= archive.entries.length * LIMITS.entry);
    return 'sound';
  } catch (error) {
    if (error instanceof SignpipeError && error.kind === 'invalid') return 'refused';
    throw error;
  }
}

function mutate(bytes: Buffer, next: () => number): Buffer {
  const result = Buffer.from(bytes);
  const kind = next() % 4;
  if (kind === 0) return result.subarray(0, next() % result.length);
  if (kind === 1) return result.subarray(next() % result.length);
  for (let n = (next() % 3) + 1; n > 0; n--) {
    const at = next() % result.length;
    // Flip a bit, or set extreme values, which break lengths and offsets.
    if (kind === 2) result[at] = (result[at] ?? 0) ^ (1 << (next() % 8));
    else result.fill(next() % 2 ? 0xff : 0, at, Math.min(result.length, at + 1 + (next() % 8)));
  }
  return result;
}

describe('damaged zips', () => {
  it(`${ROUNDS} of them are refused by name or read, and nothing else`, async () => {
    const next = random(20_240_607);
    const good = seeds();
    for (const bytes of good) assert.equal(await consume(bytes), 'sound');
    const outcomes = { sound: 0, refused: 0 };
    for (let round = 0; round < ROUNDS; round++) {
      const bytes = mutate(good[round % good.length] ?? Buffer.alloc(0), next);
      outcomes[await consume(bytes)]++;
    }
    assert.ok(outcomes.refused > ROUNDS / 2, JSON.stringify(outcomes));
    assert.ok(outcomes.sound > 0, JSON.stringify(outcomes));
  });
});
