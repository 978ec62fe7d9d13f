/** Loaded only if a bar is shown. */
import { SingleBar } from 'cli-progress';
import { printable } from '../../lib/printable.ts';
import type { ProgressBar } from '../../lib/progress.ts';

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** The period that a rate is computed over, in ms: long enough to be steady, short enough to show when a line slows down. */
const LOOKBACK = 10_000;
/** The shortest time between two samples of a rate, in ms: there may be thousands of updates a second. */
const SAMPLE_INTERVAL = 100;
/** No rate is shown before this, in ms: it would be a guess. */
const MIN_PERIOD = 1000;

const twoDigits = (count: number): string => String(count).padStart(2, '0');

/** A duration as text: `45s`, `2m 05s`, `1h 10m`. */
export function timeLeft(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole}s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${twoDigits(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h ${twoDigits(Math.floor((whole % 3600) / 60))}m`;
}

/** How much is done per second; null while it is too early to say. */
export class Rate {
  private readonly points: { readonly at: number; readonly done: number }[] = [];

  /** Adds a sample, `at` in ms. What a resumed transfer had before does not count: it is in the first sample. */
  add(done: number, at: number): number | null {
    const { points } = this;
    if (at - (points.at(-1)?.at ?? -Infinity) >= SAMPLE_INTERVAL) points.push({ at, done });
    while (points.length > 2 && at - (points[1]?.at ?? at) >= LOOKBACK) points.shift();
    const [first] = points;
    const passed = at - (first?.at ?? at);
    return passed < MIN_PERIOD || !first ? null : ((done - first.done) * 1000) / passed;
  }
}

/** The end of a bar's line: speed and remaining time. */
export function pace(rate: number | null, left: number, unit: 'bytes' | 'files'): string {
  if (rate === null || rate <= 0) return '';
  const speed = unit === 'bytes' ? `${mebibytes(rate)}/s` : `${rate.toFixed(rate < 10 ? 1 : 0)}/s`;
  return left > 0 ? `${speed}, ${timeLeft(left / rate)} left` : speed;
}

/** Whether a bar is on the terminal. A signer has work in two stages at the same time; two bars would be drawn over each other. */
let isShown = false;

/** A bar on standard error, which disappears when it stops; nothing is seen of it while another one is there. */
export function startBar(label: string, unit: 'bytes' | 'files'): ProgressBar {
  // A name from outside. It is not part of the format, in which it could contain placeholders.
  const name = printable(label, 200);
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
      if (!started && isShown) return;
      isShown = true;
      const end = pace(rate.add(done, performance.now()), total - done, unit);
      const payload = { label: name, done: show(done), all: show(total), pace: end };
      if (!started) bar.start(Math.max(total, 1), done, payload);
      else bar.update(done, payload);
      bar.setTotal(Math.max(total, 1));
      started = true;
    },
    stop: () => {
      if (!started) return;
      bar.stop();
      isShown = false;
    },
  };
}
