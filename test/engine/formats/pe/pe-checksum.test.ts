import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Checksum16 } from '../../../../src/lib/bytes/checksum16.ts';
import { peChecksum as checksumOf } from '../../../../src/engine/formats/pe/checksum.ts';
import { buildPe, filler, peChecksum, peLayout } from '../../../fixtures/pe.ts';

/** The file's checksum, its bytes added in runs that end at `cuts`, the field itself left out. */
function summed(file: Buffer, cuts: readonly number[]): number {
  const field = peLayout().checksum;
  const ends = [...cuts.filter((cut) => cut <= field || cut >= field + 4), field, field + 4, file.length];
  const sum = new Checksum16();
  let start = 0;
  for (const end of ends.sort((a, b) => a - b)) {
    if (start !== field) sum.add(file.subarray(start, end));
    start = end;
  }
  return checksumOf(sum, file.length);
}

describe('the PE checksum', () => {
  it('is the plain sum of words, for every length modulo 8', () => {
    for (let extra = 0; extra < 8; extra++) {
      const file = buildPe({ overlay: filler(extra, 7) });
      assert.equal(summed(file, []), peChecksum(file));
    }
  });

  it('does not depend on where the file is cut, at odd offsets neither', () => {
    const file = buildPe({ overlay: filler(13, 3) });
    const expected = peChecksum(file);
    for (let cut = 0; cut < 700; cut++) assert.equal(summed(file, [cut, cut + 1, cut + 37]), expected);
  });

  it('does not depend on how the bytes lie in memory', () => {
    const file = buildPe({ overlay: filler(5) });
    for (let shift = 0; shift < 8; shift++) {
      const moved = Buffer.alloc(file.length + shift);
      file.copy(moved, shift);
      assert.equal(summed(moved.subarray(shift), [100]), peChecksum(file));
    }
  });

  it('carries round the end as often as needed: megabytes of 0xff', () => {
    const file = buildPe({ overlay: Buffer.alloc(9 * 1024 * 1024 + 2, 0xff) });
    assert.equal(summed(file, []), peChecksum(file));
  });

  it('of a patched file is the sum of what stayed plus the sum of what is new', () => {
    const [kept, tail] = [filler(4096), filler(776, 5)];
    const whole = new Checksum16().add(kept).add(tail);
    assert.equal(checksumOf(new Checksum16().add(kept).clone().add(tail), 4872), checksumOf(whole, 4872));
  });
});
