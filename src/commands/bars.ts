import { isatty } from 'node:tty';
import type { SingleBar } from 'cli-progress';
import { noProgress, type Bar, type Progress } from '../progress.ts';
import type { CommonOptions } from './terminal.ts';

const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function startBar(Drawn: typeof SingleBar, label: string, unit: 'bytes' | 'files'): Bar {
  const show = unit === 'bytes' ? mebibytes : String;
  const bar = new Drawn({
    format: `${label} {bar} {percentage}% {done} of {all}`,
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
    fps: 8,
  });
  let started = false;
  return {
    update: (done, total) => {
      const payload = { done: show(done), all: show(total) };
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

/** Bars where a person watches; nothing, and nothing loaded, where output goes to a file or a CI job's log. */
export async function progressFor(options: CommonOptions): Promise<Progress> {
  if (options.quiet || !isatty(2)) return noProgress;
  const { SingleBar } = await import('cli-progress');
  return { start: (label, unit) => startBar(SingleBar, label, unit) };
}
