import { SingleBar } from 'cli-progress';
import { printable } from '../printable.ts';
import type { Bar } from '../progress.ts';

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** A bar on standard error, which is gone when it stops. */
export function startBar(label: string, unit: 'bytes' | 'files'): Bar {
  // A name from outside; as part of the format it could hold places of its own.
  const shown = printable(label, 200);
  const show = unit === 'bytes' ? mebibytes : String;
  const bar = new SingleBar({
    format: `{label} {bar} {percentage}% {done} of {all}`,
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
    fps: 8,
  });
  let started = false;
  return {
    update: (done, total) => {
      const payload = { label: shown, done: show(done), all: show(total) };
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
