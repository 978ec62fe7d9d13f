/** The day of a time as YYYY-MM-DD, in UTC. */
export const isoDay = (time: Date | string): string =>
  (typeof time === 'string' ? time : time.toISOString()).slice(0, 10);
