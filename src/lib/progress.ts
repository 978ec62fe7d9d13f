/** A transfer or a run of signatures under way. */
export interface Bar {
  /** `total` may become known, or change, along the way. */
  readonly update: (done: number, total: number) => void;
  readonly stop: () => void;
}

/** Shows how long work goes on, where somebody is looking. */
export interface Progress {
  /** Begins a bar; `unit` decides how numbers are shown. */
  start(label: string, unit: 'bytes' | 'files'): Bar;
}

/** Does some work under a bar of its own, which ends with it. */
export async function underBar<T>(
  progress: Progress,
  label: string,
  unit: 'bytes' | 'files',
  work: (update: Bar['update']) => Promise<T>,
): Promise<T> {
  const bar = progress.start(label, unit);
  try {
    return await work(bar.update);
  } finally {
    bar.stop();
  }
}

/** Nobody is looking. */
export const noProgress: Progress = { start: () => ({ update: () => {}, stop: () => {} }) };
