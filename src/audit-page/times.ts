/** Times in milliseconds. */

export const MINUTE = 60_000;
export const DAY = 86_400_000;

/** The beginning of a day in UTC, which a date field names; null if none is chosen. */
export const dayOf = (date: string): number | null => (date === '' ? null : timeOf(`${date}T00:00:00Z`));

/** The time of a text: ISO 8601, or as HTTP writes it. */
export const timeOf = (iso: string): number => new Date(iso).getTime();
