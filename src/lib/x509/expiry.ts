import { isoDay } from '../iso-day.ts';
import { plural } from '../plural.ts';
import type { Certificate } from './certificate.ts';
import { changeAt, type Succession } from './successor-findings.ts';

const DAY = 86_400_000;

/** How many days before a signing certificate expires its operator is warned: authorities take weeks. */
const THRESHOLDS = [7, 14, 30, 60] as const;

/** How close the end of a certificate or a key is. */
export interface Expiry {
  /** Whole days left; negative once it has expired. */
  readonly days: number;
  /** The lowest threshold that is reached: 7, 14, 30 or 60 days, or 0 once it has expired; null before. */
  readonly threshold: number | null;
  /** `valid until 2027-03-01, 12 days left`, or `expired on 2027-03-01`. */
  readonly text: string;
}

/** How close the end of a certificate or a key is. */
export function expiryOf({ notAfter }: Pick<Certificate, 'notAfter'>, now: Date): Expiry {
  const left = notAfter.getTime() - now.getTime();
  const days = Math.floor(left / DAY);
  if (left < 0) return { days, threshold: 0, text: `expired on ${isoDay(notAfter)}` };
  const threshold = THRESHOLDS.find((each) => left <= each * DAY) ?? null;
  return { days, threshold, text: `valid until ${isoDay(notAfter)}, ${plural(days, 'day')} left` };
}

/** For sorting: the certificate that expires last comes first. */
export const latestExpiryFirst = (a: Certificate, b: Certificate): number =>
  b.notAfter.getTime() - a.notAfter.getTime();

/** Whether the next certificate signs when the current one ends, and for longer: then nothing has to be done. */
export const isCovered = (succession: Succession): boolean =>
  succession.next.notBefore <= changeAt(succession) && succession.next.notAfter > succession.current.notAfter;
