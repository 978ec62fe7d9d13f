/** The round times on the timeline's axis. */
import { DAY } from './times.ts';

/** An interval in milliseconds, and the label of a time. */
type TickInterval = readonly [size: number, label: (iso: string) => string];

const STEPS: readonly TickInterval[] = [
  ...[1, 5, 15, 30, 60, 180, 360, 720].map((minutes): TickInterval => [
    minutes * 60_000,
    (iso) => iso.slice(5, 16).replace('T', ' '),
  ]),
  ...[1, 2, 7, 14].map((days): TickInterval => [days * DAY, (iso) => iso.slice(0, 10)]),
];

const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 600];
/** Used when even those ticks are too close together. */
const MOST_MONTHS = 1200;

interface AxisTick {
  readonly time: number;
  readonly label: string;
}

/** Round times between two times, at most one per 110 pixels. */
export function ticksOf(from: number, to: number, room: number): AxisTick[] {
  const most = Math.max(2, Math.floor(room / 110));
  const step = STEPS.find(([size]) => (to - from) / size <= most);
  if (step) return evenTicks(from, to, step);
  const months = MONTHS.find((n) => (to - from) / (n * 30 * DAY) <= most) ?? MOST_MONTHS;
  return monthTicks(from, to, months);
}

function evenTicks(from: number, to: number, [size, label]: TickInterval): AxisTick[] {
  const ticks: AxisTick[] = [];
  for (let time = Math.ceil(from / size) * size; time <= to; time += size)
    ticks.push({ time, label: label(new Date(time).toISOString()) });
  return ticks;
}

function monthTicks(from: number, to: number, months: number): AxisTick[] {
  const ticks: AxisTick[] = [];
  const first = new Date(from);
  const start = Math.ceil((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months;
  for (let month = start; ; month += months) {
    const time = Date.UTC(Math.floor(month / 12), month % 12);
    if (time > to) return ticks;
    if (time >= from) ticks.push({ time, label: new Date(time).toISOString().slice(0, months < 12 ? 7 : 4) });
  }
}
