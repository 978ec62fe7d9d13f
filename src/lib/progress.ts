/** A transfer or a run of signatures under way. */
export interface ProgressBar {
  /** `total` may become known, or change, along the way. */
  readonly update: (done: number, total: number) => void;
  readonly stop: () => void;
}

/** Shows how long work goes on, where somebody is looking. */
export interface ProgressDisplay {
  /** Begins a bar; `unit` decides how numbers are shown. */
  start(label: string, unit: 'bytes' | 'files'): ProgressBar;
}

/** Does some work under a bar of its own, which ends with it. */
export async function withProgressBar<T>(
  progress: ProgressDisplay,
  label: string,
  unit: 'bytes' | 'files',
  work: (update: ProgressBar['update']) => Promise<T>,
): Promise<T> {
  const bar = progress.start(label, unit);
  try {
    return await work(bar.update);
  } finally {
    bar.stop();
  }
}

/** Nobody is looking. */
export const noProgress: ProgressDisplay = { start: () => ({ update: () => {}, stop: () => {} }) };
