/** How much time lies between two moments, in the largest unit that fits. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** How long ago something was. */
export const ago = (then: string | Date, now: Date): string =>
  `${duration(now.getTime() - new Date(then).getTime())} ago`;
