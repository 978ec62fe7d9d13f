/** Times on the timeline's axis: round ones. */
import { DAY } from './times.ts';

/** A distance between times in milliseconds, and how those times are written. */
type Step = readonly [size: number, label: (iso: string) => string];

const STEPS: readonly Step[] = [
  ...[1, 5, 15, 30, 60, 180, 360, 720].map((minutes): Step => [
    minutes * 60_000,
    (iso) => iso.slice(5, 16).replace('T', ' '),
  ]),
  ...[1, 2, 7, 14].map((days): Step => [days * DAY, (iso) => iso.slice(0, 10)]),
];

const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 600];
/** When even those are too near to each other. */
const MOST_MONTHS = 1200;

export interface Tick {
  readonly time: number;
  readonly label: string;
}

/** Round times between two, at most one in 110 pixels. */
export function ticksOf(from: number, to: number, room: number): Tick[] {
  const most = Math.max(2, Math.floor(room / 110));
  const step = STEPS.find(([size]) => (to - from) / size <= most);
  if (step) return evenTicks(from, to, step);
  const months = MONTHS.find((n) => (to - from) / (n * 30 * DAY) <= most) ?? MOST_MONTHS;
  return monthTicks(from, to, months);
}

function evenTicks(from: number, to: number, [size, label]: Step): Tick[] {
  const ticks: Tick[] = [];
  for (let time = Math.ceil(from / size) * size; time <= to; time += size)
    ticks.push({ time, label: label(new Date(time).toISOString()) });
  return ticks;
}

function monthTicks(from: number, to: number, months: number): Tick[] {
  const ticks: Tick[] = [];
  const first = new Date(from);
  const start = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
  for (let month = start; ; month += months) {
    const time = Date.UTC(Math.floor(month / 12), month % 12);
    if (time > to) return ticks;
    if (time >= from) ticks.push({ time, label: new Date(time).toISOString().slice(0, months < 12 ? 7 : 4) });
  }
}
