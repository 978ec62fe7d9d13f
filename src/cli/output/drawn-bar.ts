import { SingleBar } from 'cli-progress';
import { printable } from '../../lib/printable.ts';
import type { Bar } from '../../lib/progress.ts';

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** How far back the rate looks, in ms: long enough to be steady, short enough to follow a line that slows down. */
const LOOKBACK = 10_000;
/** The points in time that a rate is made from are this far apart, in ms: updates may come by the thousand. */
const APART = 100;
/** Before this, in ms, a rate says nothing. */
const SETTLED = 1000;

const two = (count: number): string => String(count).padStart(2, '0');

/** A span of time for people: `45s`, `2m 05s`, `1h 10m`. */
export function timeLeft(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${two(Math.floor((whole % 3600) / 60))}m`;
}

/** How much was done per second lately; null while it is too early to say. */
export class Rate {
  private readonly points: { readonly at: number; readonly done: number }[] = [];

  /** `at` in ms. What a resumed transfer had before counts for nothing: it is in the first point. */
  add(done: number, at: number): number | null {
    const { points } = this;
    if (at - (points.at(-1)?.at ?? -Infinity) >= APART) points.push({ at, done });
    while (points.length > 2 && at - (points[1]?.at ?? at) >= LOOKBACK) points.shift();
    const [first] = points;
    const passed = at - (first?.at ?? at);
    return passed < SETTLED || !first ? null : ((done - first.done) * 1000) / passed;
  }
}

/** The end of a bar's line: how fast it goes, and how long it will take from here. */
export function pace(rate: number | null, left: number, unit: 'bytes' | 'files'): string {
  if (rate === null || rate <= 0) return '';
  const speed = unit === 'bytes' ? `${mebibytes(rate)}/s` : `${rate.toFixed(rate < 10 ? 1 : 0)}/s`;
  return left > 0 ? `${speed}, ${timeLeft(left / rate)} left` : speed;
}

/** A bar on standard error, which is gone when it stops. */
export function startBar(label: string, unit: 'bytes' | 'files'): Bar {
  // A name from outside; as part of the format it could hold places of its own.
  const shown = printable(label, 200);
  const show = unit === 'bytes' ? mebibytes : String;
  const bar = new SingleBar({
    format: '{label} {bar} {percentage}% {done} of {all} {pace}',
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
    fps: 8,
  });
  const rate = new Rate();
  let started = false;
  return {
    update: (done, total) => {
      const end = pace(rate.add(done, performance.now()), total - done, unit);
      const payload = { label: shown, done: show(done), all: show(total), pace: end };
      if (!started) bar.start(Math.max(total, 1), done, payload);
      else bar.update(done, payload);
      bar.setTotal(Math.max(total, 1));
      started = true;
    },
    stop: () => {
      if (started) bar.stop();
    },
  };
}
