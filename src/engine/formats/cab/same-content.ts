import type { SourceRange } from '../../../lib/bytes/concatenated-source.ts';
import { firstDifference } from '../../../lib/bytes/hash-and-compare.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import type { Cabinet } from '../../../lib/cabinet/cabinet.ts';
import { invalid } from '../../../lib/errors.ts';

/** The parts of an open cabinet that are compared. */
interface CabContent {
  readonly source: ByteSource;
  readonly cabinet: Cabinet;
  /** What the digest covers, of the file as it is once it is signed. */
  covered(): SourceRange[];
}

const sizeOf = (ranges: readonly SourceRange[]): number =>
  ranges.reduce((sum, { start, end }) => sum + end - start, 0);

/**
 * Requires that `after` equals `before` except for signatures: what the digest covers is equal. What it leaves out is a
 * finding unless it is as signing leaves it.
 *
 * | code                   | meaning                                                             |
 * | ---------------------- | ------------------------------------------------------------------- |
 * | `cab-reserve`          | the original has reserved areas of its own and is not signed        |
 * | `strip-length-differs` | bytes were added to the cabinet or cut off                          |
 * | `strip-body-differs`   | a byte of the cabinet differs; the message says where               |
 */
export async function requireSameCabinet(before: CabContent, after: CabContent): Promise<void> {
  const [older, newer] = [before.covered(), after.covered()];
  if (sizeOf(older) !== sizeOf(newer))
    throw invalid(
      'strip-length-differs',
      `${after.source.name}: the signed cabinet has ${sizeOf(newer)} bytes that a signature covers, ${before.source.name} has ${sizeOf(older)}`,
    );
  const position = await firstDifference(older, newer);
  if (position === undefined) return;
  throw invalid(
    'strip-body-differs',
    `${after.source.name}: it is not ${before.source.name} plus a signature: a byte ${placeOf(newer, position, after)} differs`,
  );
}

const PARTS = ['header', 'header', 'header', 'reserved area', 'names of neighbours', 'table of folders'];

/** The part of the cabinet in which a byte lies, given by its position in what the digest covers. */
function placeOf(ranges: readonly SourceRange[], position: number, { cabinet }: CabContent): string {
  let rest = position;
  for (const [index, { start, end }] of ranges.entries()) {
    if (rest >= end - start) {
      rest -= end - start;
      continue;
    }
    const part = PARTS[index];
    if (part !== undefined) return `of its ${part}`;
    const at = start + rest;
    return `of its ${at < cabinet.filesEnd ? 'table of files' : 'data'} (byte ${at} of the file)`;
  }
  return 'at its end';
}
