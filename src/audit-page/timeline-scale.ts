/** The scale of the timeline: the times that it spans, and their positions. */
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
