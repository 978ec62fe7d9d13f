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

/** Nobody is looking. */
export const noProgress: Progress = { start: () => ({ update: () => {}, stop: () => {} }) };
