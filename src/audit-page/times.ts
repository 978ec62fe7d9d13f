/** Times as the page counts them: in milliseconds. */

export const DAY = 86_400_000;

/** A time that is written in ISO 8601. */
export const timeOf = (iso: string): number => new Date(iso).getTime();
