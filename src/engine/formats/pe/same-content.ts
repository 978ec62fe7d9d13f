import { offsetIn } from '../../../lib/bytes/byte-range.ts';
import type { SourceRange } from '../../../lib/bytes/concatenated-source.ts';
import type { ByteRange } from '../../../lib/bytes/byte-range.ts';
import type { ByteSource } from '../../../lib/bytes/byte-source.ts';
import { firstDifference } from '../../../lib/bytes/hash-and-compare.ts';
import { invalid, type SignpipeError } from '../../../lib/errors.ts';
import { locate, type PeLayout } from './pe-layout.ts';

/** The parts of an open PE file that are compared. */
interface PeContent {
  readonly source: ByteSource;
  readonly layout: PeLayout;
  readonly bodyEnd: number;
  readonly covered: readonly ByteRange[];
  checksum(): Promise<{ readonly stored: number; readonly computed: number }>;
}

/**
 * Requires that `after` equals `before` except for signatures: the bytes that the digest covers are equal, at most seven
 * zero bytes of padding precede the certificate table, and CheckSum is right or what it was.
 *
 * | code                    | meaning                                                            |
 * | ----------------------- | ------------------------------------------------------------------ |
 * | `strip-length-differs`  | bytes were added to the program or cut off                         |
 * | `strip-body-differs`    | a byte of the program differs; the message says where              |
 * | `strip-padding`         | the padding before the signature is not zero                       |
 * | `strip-checksum`        | CheckSum is neither the original's nor right                       |
 */
export async function requireSameBody(before: PeContent, after: PeContent): Promise<void> {
  requireLength(before, after);
  await requireEqualBytes(before, after);
  await requireZeroPadding(before, after);
  await requireChecksum(before, after);
}

const align = (length: number): number => Math.ceil(length / 8) * 8;

function requireLength(before: PeContent, after: PeContent): void {
  const expected = align(before.bodyEnd);
  if (after.bodyEnd === expected) return;
  throw invalid(
    'strip-length-differs',
    `${after.source.name}: the signed program has ${after.bodyEnd} bytes before its signature, ${before.source.name} with padding ${expected}`,
  );
}

async function requireEqualBytes(before: PeContent, after: PeContent): Promise<void> {
  const ranges = ({ source }: PeContent): SourceRange[] =>
    before.covered.map((range) => ({ source, ...range }));
  const position = await firstDifference(ranges(before), ranges(after));
  if (position === undefined) return;
  const at = offsetIn(before.covered, position);
  const [[older], [newer]] = await Promise.all([before.source.read(at, 1), after.source.read(at, 1)]);
  throw bodyDiffers(before, after, at, older, newer);
}

function bodyDiffers(
  before: PeContent,
  after: PeContent,
  offset: number,
  older = 0,
  newer = 0,
): SignpipeError {
  return invalid(
    'strip-body-differs',
    `${after.source.name}: it is not ${before.source.name} plus a signature: in the ${locate(before.layout, offset)} ` +
      `(byte ${offset} of the file) 0x${hex(older)} became 0x${hex(newer)}`,
  );
}

const hex = (byte: number): string => byte.toString(16).padStart(2, '0');

async function requireZeroPadding(before: PeContent, after: PeContent): Promise<void> {
  const padding = await after.source.read(before.bodyEnd, after.bodyEnd - before.bodyEnd);
  if (padding.every((byte) => byte === 0)) return;
  throw invalid(
    'strip-padding',
    `${after.source.name}: the ${padding.length} bytes of padding before its signature are not zero`,
  );
}

/** CheckSum is covered by no digest: unless it is what it was, or what it must be, four bytes could hide there. */
async function requireChecksum(before: PeContent, after: PeContent): Promise<void> {
  const { stored, computed } = await after.checksum();
  if (stored === computed || (await before.checksum()).stored === stored) return;
  throw invalid('strip-checksum', `${after.source.name}: its CheckSum field does not hold its checksum`, {
    hint: 'the tool that signed it should have recomputed the checksum afterwards',
  });
}
