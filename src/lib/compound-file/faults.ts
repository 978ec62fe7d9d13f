import { invalid, type ErrorDetails, type SignpipeError } from '../errors.ts';
import type { ByteSource } from '../bytes/byte-source.ts';

/**
 * Why a file is refused as a compound file.
 *
 * | code               | meaning                                                                        |
 * | ------------------ | ------------------------------------------------------------------------------ |
 * | `cfb-no-header`    | it does not begin with the header of a compound file                            |
 * | `cfb-header`       | a field of its header has a value that no compound file has                     |
 * | `cfb-fat`          | its allocation table, or the list of that table's sectors, is inconsistent      |
 * | `cfb-chain`        | a chain of sectors leaves the file, loops, ends early, or shares a sector       |
 * | `cfb-directory`    | a directory entry is malformed, or the entries do not form sorted trees         |
 * | `cfb-truncated`    | it ends before bytes that it refers to                                          |
 * | `cfb-too-large`    | it is larger, or has more entries or levels, than can be read or written         |
 */
export type CompoundFileFault =
  | 'cfb-no-header'
  | 'cfb-header'
  | 'cfb-fat'
  | 'cfb-chain'
  | 'cfb-directory'
  | 'cfb-truncated'
  | 'cfb-too-large';

const HINTS: Partial<Record<CompoundFileFault, string>> = {
  'cfb-truncated': 'the file was cut short: build or copy it again',
  'cfb-too-large': 'sign such a file with the tools of its vendor',
};
const DAMAGED = 'the file is damaged, or a tool wrote it that does not follow MS-CFB: build it again';

/** The error for a file that cannot be read, or extended, as a compound file. */
export function fault(
  { name }: Pick<ByteSource, 'name'>,
  code: CompoundFileFault,
  why: string,
): SignpipeError {
  const details: ErrorDetails = { hint: HINTS[code] ?? DAMAGED };
  return invalid(code, `${name}: ${why}`, details);
}
