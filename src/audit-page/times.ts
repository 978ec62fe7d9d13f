/** Times in milliseconds. */

export const DAY = 86_400_000;

/** The time of an ISO 8601 text. */
export const timeOf = (iso: string): number => new Date(iso).getTime();
