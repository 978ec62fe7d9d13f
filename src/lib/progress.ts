/** The progress of a transfer or of signing. */
export interface ProgressBar {
  /** `total` may change while the work goes on. */
  readonly update: (done: number, total: number) => void;
  readonly stop: () => void;
}

/** Shows the progress of work, for example on a terminal. */
export interface ProgressDisplay {
  /** Starts a bar; `unit` decides how numbers are shown. */
  start(label: string, unit: 'bytes' | 'files'): ProgressBar;
}

/** Shows a progress bar as long as `work` runs. */
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

/** Shows nothing. */
export const noProgress: ProgressDisplay = { start: () => ({ update: () => {}, stop: () => {} }) };
