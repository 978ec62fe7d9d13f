/** Slots of match positions for windows of 2^15 to 2^21 bytes. */
const SLOTS: readonly number[] = [30, 32, 34, 36, 38, 42, 50];
/** Bits of the smallest window, which is as large as a data block. */
export const SMALLEST_WINDOW = 15;

/** The number of slots of match positions for a window of 2^bits bytes. */
export const slotsOf = (bits: number): number => SLOTS[bits - SMALLEST_WINDOW] ?? 0;

/** Whether a window of 2^bits bytes exists. */
export const isWindow = (bits: number): boolean => slotsOf(bits) > 0;
