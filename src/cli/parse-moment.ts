import { parseDuration } from '../app/config/units.ts';
import { usage } from '../lib/errors.ts';

const MOMENT = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?) ?(Z|UTC|[+-]\d{2}:\d{2})?)?$/;

/** Reads a date, a date and time, or a duration before now. Without a zone it is UTC. */
export function parseMoment(text: string, option: string, now: Date): Date {
  const ago = parseDuration(text);
  if (ago !== undefined) return new Date(now.getTime() - ago);
  const [, date = '', time = '00:00', zone = 'Z'] = MOMENT.exec(text) ?? [];
  const moment = new Date(`${date}T${time}${zone === 'UTC' ? 'Z' : zone}`);
  // Date turns a day that the month does not have, such as 31 June, into one of the next month.
  const day = new Date(`${date}T00:00Z`);
  if (!Number.isNaN(moment.getTime()) && day.toISOString().startsWith(date)) return moment;
  throw usage('time-unreadable', `${option} ${text}: is not a time`, {
    hint: 'write 2026-01-31, "2026-01-31 09:30" (UTC), 2026-01-31T09:30+01:00, or 30d for that long ago',
  });
}
