/** The scale of the timeline: the times that it spans, their positions, and the round times on its axis. */
import { NOW } from './audit-data.ts';
import { state } from './state.ts';
import { DAY, timeOf } from './times.ts';

/** Pixels. Requests are at the top; below them is a lane for each outcome. */
const LANE = 30;
export const EDGE = { left: 92, right: 18, top: 22, axis: 28 } as const;
const NARROW = { width: 520, left: 74 } as const;

export interface TimelineScale {
  /** Milliseconds. */
  readonly from: number;
  readonly to: number;
  /** Pixels. */
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly bottom: number;
  /** The position of a time. */
  readonly x: (time: number) => number;
  /** The position of a lane. */
  readonly y: (lane: number) => number;
}

export function timelineScale(width: number, lanes: number): TimelineScale {
  const { from, to } = domainOf();
  const height = EDGE.top + LANE * (lanes + 0.6) + EDGE.axis;
  const left = width < NARROW.width ? NARROW.left : EDGE.left;
  const right = width - EDGE.right;
  return {
    from,
    to,
    width,
    height,
    left,
    right,
    bottom: height - EDGE.axis,
    x: (time) => Math.min(Math.max(left + ((time - from) / (to - from)) * (right - left), left), right),
    y: (lane) => EDGE.top + LANE * (lane + 1.3),
  };
}

/**
 * From the first to the last answer, and a margin. Requests extend it by at most a month, since a commit may claim any
 * time.
 */
function domainOf(): { from: number; to: number } {
  let [from, to] = [Infinity, -Infinity];
  for (const { when, row } of state.matches) {
    from = Math.min(from, when);
    to = Math.max(to, when);
    if (row.outcome === 'waiting') to = Math.max(to, NOW);
  }
  const earliest = from - 30 * DAY;
  for (const { row } of state.matches) {
    const asked = row.requestedAt === null ? from : timeOf(row.requestedAt);
    if (asked >= earliest) from = Math.min(from, asked);
  }
  const margin = Math.max((to - from) * 0.015, 60_000);
  return { from: from - margin, to: to + margin };
}

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
