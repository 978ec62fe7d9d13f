import type { Checksum16 } from '../../../lib/bytes/checksum16.ts';

/** The CheckSum field, which no digest covers. */
export interface Checksum {
  readonly stored: number;
  readonly computed: number;
  /**
   * The checksums that the file may have had before it was signed, which some signers leave there: unsigned with 0 to 7
   * bytes less padding, and with the first entries of its certificate table.
   */
  readonly earlier: readonly number[];
}

/**
 * The optional header's CheckSum, as ImageHlp's CheckSumMappedFile computes it: the sum of all words of the file except
 * the field itself, plus the size of the file.
 */
export const peChecksum = ({ sum }: Checksum16, size: number): number =>
  // End-around carry never turns a sum back into zero, and a PE file is never all zeros.
  ((sum === 0 ? 0xffff : sum) + size) >>> 0;
